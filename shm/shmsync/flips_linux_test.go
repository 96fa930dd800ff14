package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestEveryBitOfALock flips each bit of a lock's word in each of its states, as a stray store does. Three living
// sessions, two of which a flipped bit may name, then find it healthy: each gets in, exclusively and shared. All other
// sessions that a bit may name live, too, and know nothing of the lock.
func TestEveryBitOfALock(t *testing.T) {
	type locks = [3]*shmsync.LWLock
	states := map[string]func(e *ending, l locks) (unlock func()){
		"free":   func(*ending, locks) func() { return func() {} },
		"locked": func(_ *ending, l locks) func() { return must(l[0].Lock(ctx)).Unlock },
		"read":   func(_ *ending, l locks) func() { return must(l[0].RLock(ctx)).Unlock },
		"read twice": func(_ *ending, l locks) func() {
			a, b := must(l[0].RLock(ctx)), must(l[0].RLock(ctx))
			return func() { a.Unlock(); b.Unlock() }
		},
		"a writer waits for a reader": func(e *ending, l locks) func() {
			g := must(l[0].RLock(ctx))
			done := inBackground(t, func() error {
				g, err := l[1].Recover(ctx)
				g.MarkConsistent()
				g.Unlock()
				return err
			})
			until(e.mine.Lock.Drains)
			return func() { g.Unlock(); done() }
		},
		"others wait for a writer": func(e *ending, l locks) func() {
			g := must(l[0].Lock(ctx))
			waiting := func(m *shmsync.LWLock, lock func(context.Context) (shmsync.Guard, error)) func() {
				return inBackground(t, func() error {
					g, err := lock(ctx)
					if errors.Is(err, shmsync.ErrNotRecoverable) { // the bit that was hit
						g, err = m.Recover(ctx)
					}
					g.MarkConsistent()
					g.Unlock()
					return err
				})
			}
			first, second := waiting(l[1], l[1].Lock), waiting(l[2], l[2].RLock)
			until(func() bool { return e.mine.Lock.State()&shmsync.SleepX != 0 && e.mine.Lock.State()&shmsync.SleepS != 0 })
			return func() { g.Unlock(); first(); second() }
		},
	}
	stop := disavowing()
	defer stop()
	for name, enter := range states {
		everyBit(t, name, 256*8, 64, func(t testing.TB, what string, bit int) {
			e := newEnding(t)
			var l locks
			for i, self := range neighbours() {
				l[i] = shmsync.NewLWLock(&e.mine.Lock, self)
			}
			unlock := enter(e, l)
			e.flip(bit)
			unlock()
			healthy(t, what, e, l)
		})
	}
}

// everyBit calls f for each bit in parallel, in a short run for the first ones and every seventh of the rest.
func everyBit(t *testing.T, name string, all, first int, f func(t testing.TB, what string, bit int)) {
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for bit := range all {
		if testing.Short() && bit >= first && bit%7 != 0 {
			continue
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			f(t, fmt.Sprintf("%s, bit %d", name, bit), bit)
		})
	}
	wg.Wait()
}

// neighbours are three sessions whose words are one bit apart from the first one's. Every session in its first
// incarnation lives.
func neighbours() (list [3]shmsync.Self) {
	for i, row := range []int{0, 2, 16} {
		list[i] = self(row, 1)
		list[i].Alive = func(p shmsync.Peer) bool { return p.Incarnation == 1 }
	}
	return list
}

// flip changes one bit of the arena.
func (e *ending) flip(bit int) {
	w := &must(shm.SliceOf[atomic.Uint32](e.Region, 0, 4096/4))[bit/32]
	for {
		if v := w.Load(); w.CompareAndSwap(v, v^1<<(bit%32)) {
			return
		}
	}
}

// inBackground runs f, whose error is one of the test. Done waits for it.
func inBackground(t testing.TB, f func() error) (done func()) {
	err := make(chan error, 1)
	go func() { err <- f() }()
	return func() {
		if err := <-err; err != nil {
			t.Error(err)
		}
	}
}

func until(f func() bool) {
	for !f() {
		runtime.Gosched()
	}
}

// healthy lets each session in, exclusively and shared.
func healthy(t testing.TB, what string, e *ending, locks [3]*shmsync.LWLock) {
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
