package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestEveryBitOfALock flips each bit of a lock's word in each of its states, as a stray store does. Three living
// sessions, two of which a flipped bit may name, then find it healthy: each gets in, exclusively and shared.
func TestEveryBitOfALock(t *testing.T) {
	states := map[string]func(l *shmsync.LWLock) (unlock func()){
		"free":   func(*shmsync.LWLock) func() { return func() {} },
		"locked": func(l *shmsync.LWLock) func() { return must(l.Lock(ctx)).Unlock },
		"read":   func(l *shmsync.LWLock) func() { return must(l.RLock(ctx)).Unlock },
		"read twice": func(l *shmsync.LWLock) func() {
			a, b := must(l.RLock(ctx)), must(l.RLock(ctx))
			return func() { a.Unlock(); b.Unlock() }
		},
	}
	stop := disavowing()
	defer stop()
	var wg sync.WaitGroup
	const all = 256 * 8
	room := make(chan struct{}, 64)
	for name, enter := range states {
		for bit := range all {
			if testing.Short() && bit > 64 && bit%7 != 0 {
				continue
			}
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				flipped(t, fmt.Sprintf("%s, bit %d", name, bit), bit, enter)
			})
		}
	}
	wg.Wait()
}

// rows are those of the living sessions: one bit apart, all in their first incarnation.
var rows = []int{0, 1, 17}

func flipped(t *testing.T, what string, bit int, enter func(*shmsync.LWLock) (unlock func())) {
	e := newEnding(t)
	alive := func(p shmsync.Peer) bool {
		return (p.Row == rows[0] || p.Row == rows[1] || p.Row == rows[2]) && p.Incarnation == 1
	}
	var locks [3]*shmsync.LWLock
	for i := range locks {
		s := self(rows[i], 1)
		s.Alive = alive
		locks[i] = shmsync.NewLWLock(&e.mine.Lock, s)
	}
	unlock := enter(locks[0])
	word := must(shm.SliceOf[atomic.Uint64](e.Region, 0, 32))
	w := &word[bit/64]
	w.Store(w.Load() ^ 1<<(bit%64))
	unlock()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, l := range locks {
		for _, lock := range []func(context.Context) (shmsync.Guard, error){l.Recover, l.RLock, l.Lock} {
			g, err := lock(soon)
			if err != nil {
				t.Errorf("%s: session %d: %v; state %x, %+v", what, i, err, e.mine.Lock.State(), l.Status())
				return
			}
			g.MarkConsistent()
			g.Unlock()
		}
	}
}

// disavowing does what sessions do once a second.
func disavowing() (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			shmsync.Disavow()
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(over); <-done }
}

// TestDisavowLeavesHoldersAlone: a lock that is held for long stays held.
func TestDisavowLeavesHoldersAlone(t *testing.T) {
	stop := disavowing()
	defer stop()
	e := newEnding(t)
	g := must(e.lock.Lock(ctx))
	short, cancel := context.WithTimeout(ctx, 3500*time.Millisecond)
	defer cancel()
	if _, err := shmsync.NewLWLock(&e.theirs.Lock, e.other).Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another session's Lock of what is held = %v", err)
	}
	g.Unlock()
	if g := must(shmsync.NewLWLock(&e.theirs.Lock, e.other).Lock(ctx)); g.Abandoned() {
		t.Error("it was given back for its holder")
	} else {
		g.Unlock()
	}
}

// TestEveryBitOfALatchOwner: its owner stays it, and of a latch that is free another session becomes it.
func TestEveryBitOfALatchOwner(t *testing.T) {
	for bit := range 64 {
		for _, owned := range []bool{false, true} {
			e := newEnding(t)
			other := shmsync.NewLatch(&e.theirs.Latch, e.other)
			if owned {
				must(0, e.latch.Own())
			}
			w := must(shm.At[atomic.Uint64](e.Region, 512))
			w.Store(w.Load() ^ 1<<bit)
			err := other.Own()
			if owned && !errors.Is(err, shmsync.ErrOwned) || !owned && err != nil {
				t.Errorf("bit %d, owned %v: another one's Own = %v", bit, owned, err)
			}
			if owned {
				e.latch.Set()
				must(0, e.latch.Wait(ctx))
				e.latch.Disown()
				must(0, other.Own())
			}
		}
	}
}
