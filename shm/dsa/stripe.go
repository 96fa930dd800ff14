package dsa

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// stripe is a mutex for goroutines of one process whose Unlock is a plain store on processors that keep the order of
// stores: an atomic one is a third of what Alloc and Free cost. Such an Unlock cannot find out that a goroutine waits.
// So the first goroutine that waits looks again and again, and the others wait for that one in a sync.Mutex.
//
// It is not in shared memory, and not known to other processes. The order in which a call takes stripes and the shared
// locks is in the package comment. Its zero value is unlocked.
type stripe struct {
	// held is 1 while the stripe is locked.
	held atomic.Uint32
	// freed is how many objects the session has freed in the stripe, as a number that fits an intent. It is read and
	// written by the holder.
	freed uint64
	// note is the session's note of the stripe's number, in shared memory. It is written once, when the session joins.
	note *note
	// queue is locked by the one waiter that looks at held.
	queue sync.Mutex
	_     [32]byte
}

// Lock waits until the stripe is this goroutine's. No context ends the wait: holders of a stripe wait for the area's
// lock, for at most 10 seconds each time, and for the source of segments.
func (s *stripe) Lock() {
	if !s.held.CompareAndSwap(0, 1) {
		s.wait()
	}
}

// Unlock gives the stripe back. What the holder stored before is seen by the next holder.
func (s *stripe) Unlock() { ordered.Store32(&s.held, 0) }

// A waiter looks 30 times, and lets other goroutines run in between, before it sleeps: at first for a microsecond, then
// for twice as long each time, and for a tenth of a millisecond at most.
const (
	looks    = 30
	longNap  = 100 * time.Microsecond
	shortNap = time.Microsecond
)

// wait is Lock for a stripe that was found locked.
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

// withStripe runs f under the last stripe, for which Detach and each unmapping wait: so nothing that f looks at is
// unmapped. The caller has no stripe.
func (a *Area) withStripe(f func() error) error {
	st := &a.stripes[stripes-1]
	st.Lock()
	defer st.Unlock()
	return f()
}

// lockStripes takes all stripes, in the order of their index. It waits for each call of this package that is in flight
// in this process. The caller has none.
func (a *Area) lockStripes() {
	for i := range a.stripes {
		a.stripes[i].Lock()
	}
}

// unlockStripes gives all stripes back.
func (a *Area) unlockStripes() {
	for i := range a.stripes {
		a.stripes[i].Unlock()
	}
}
