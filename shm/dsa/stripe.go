package dsa

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// stripe is a mutex for goroutines of one process whose Unlock is a plain store where that will
// do: an atomic one is a third of what Alloc and Free cost. So it can't know of those who wait:
// the first of them looks again and again, the others wait for him.
type stripe struct {
	held  atomic.Uint32
	freed uint64 // how many objects the session has freed in it; under the stripe
	queue sync.Mutex
	_     [40]byte
}

func (s *stripe) Lock() {
	if !s.held.CompareAndSwap(0, 1) {
		s.wait()
	}
}

func (s *stripe) Unlock() { ordered.Store32(&s.held, 0) }

// Waiters look this often before they sleep, at first for a microsecond, at most for a hundred.
const (
	looks    = 30
	longNap  = 100 * time.Microsecond
	shortNap = time.Microsecond
)

func (s *stripe) wait() {
	s.queue.Lock()
	defer s.queue.Unlock()
	nap := shortNap
	for n := 0; !s.held.CompareAndSwap(0, 1); n++ {
		if n < looks {
			runtime.Gosched()
			continue
		}
		time.Sleep(nap)
		nap = min(2*nap, longNap)
	}
}
