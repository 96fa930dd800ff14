package shmsync_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Where the words of an arena begin, in bits.
var (
	atBarrier = 8 * int(unsafe.Offsetof(endArena{}.Barrier))
	atLatch   = 8 * int(unsafe.Offsetof(endArena{}.Latch))
	atCond    = 8 * int(unsafe.Offsetof(endArena{}.Cond))
	atMutex   = 8 * int(unsafe.Offsetof(endArena{}.Mutex))
)

// TestEveryBitOfABarrier: three sessions go on through their phases in step, one elected in each.
func TestEveryBitOfABarrier(t *testing.T) {
	const phases = 3
	states := map[string]func(e *ending, arrive func(session int), b [3]*shmsync.Barrier, flip func()){
		"nobody takes part": func(_ *ending, arrive func(int), b [3]*shmsync.Barrier, flip func()) {
			flip()
			for i := range b {
				must(b[i].Attach())
			}
			for i := range b {
				arrive(i)
			}
		},
		"all take part": func(_ *ending, arrive func(int), b [3]*shmsync.Barrier, flip func()) {
			for i := range b {
				must(b[i].Attach())
			}
			flip()
			for i := range b {
				arrive(i)
			}
		},
		"two have arrived": func(e *ending, arrive func(int), b [3]*shmsync.Barrier, flip func()) {
			for i := range b {
				must(b[i].Attach())
			}
			arrive(0)
			arrive(1)
			until(func() bool { return e.mine.Barrier.Arrived() == 2 })
			flip()
			arrive(2)
		},
	}
	for name, play := range states {
		everyBit(t, name, 256*8, 256, func(t testing.TB, what string, bit int) {
			e := newEnding(t)
			soon, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			var elected [phases]atomic.Int32
			var b [3]*shmsync.Barrier
			for i, self := range neighbours() {
				b[i] = shmsync.NewBarrier(&e.mine.Barrier, self)
			}
			var done []func()
			arrive := func(i int) {
				done = append(done, inBackground(t, func() error {
					for phase := range phases {
						one, err := b[i].ArriveAndWait(soon)
						if err != nil {
							return err
						}
						if one {
							elected[phase].Add(1)
						}
					}
					_, err := b[i].Detach()
					return err
				}))
			}
			play(e, arrive, b, func() { e.flip(atBarrier + bit) })
			for _, done := range done {
				done()
			}
			for phase := range phases {
				if n := elected[phase].Load(); n != 1 {
					t.Errorf("%s: %d are elected in phase %d", what, n, phase)
				}
			}
			if p := b[0].Participants(); p != nil {
				t.Errorf("%s: left %v", what, p)
			}
		})
	}
}

// TestEveryBitOfALatch: what is set stays set, what is not is not, and who sleeps is woken by the next Set.
func TestEveryBitOfALatch(t *testing.T) {
	everyBit(t, "latch", 16*8, 16*8, func(t testing.TB, what string, bit int) {
		soon, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		for _, state := range []string{"reset", "set", "slept on"} {
			e := newEnding(t)
			sets := shmsync.NewLatch(&e.theirs.Latch, e.other)
			must(0, e.latch.Own())
			wait := func() error { return e.latch.Wait(soon) }
			switch state {
			case "reset":
				e.flip(atLatch + bit)
				if e.latch.IsSet() {
					t.Errorf("%s, not set: it is", what)
				}
				done := inBackground(t, wait)
				sets.Set()
				done()
			case "set":
				sets.Set()
				e.flip(atLatch + bit)
				if !e.latch.IsSet() {
					t.Errorf("%s: it was set, and is not", what)
				}
				if err := wait(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			case "slept on":
				done := inBackground(t, wait)
				until(e.mine.Latch.MayBeAsleep)
				e.flip(atLatch + bit)
				if e.latch.IsSet() {
					t.Errorf("%s, slept on: it is set", what)
				}
				sets.Set()
				done()
			}
			e.latch.Reset()
			if e.latch.IsSet() {
				t.Errorf("%s, %s: it is set after Reset", what, state)
			}
		}
	})
}

// TestLatchWithWrongBitIsSleptOn: it is no reason to look again and again.
func TestLatchWithWrongBitIsSleptOn(t *testing.T) {
	for bit := range 32 {
		e := newEnding(t)
		must(0, e.latch.Own())
		e.flip(atLatch + 64 + bit)
		done := inBackground(t, func() error { return e.latch.Wait(ctx) })
		until(e.mine.Latch.Clean)
		e.latch.Set()
		done()
	}
}

// TestEveryBitOfACond: a process that waits for a condition finds it true after a Signal, within a second.
func TestEveryBitOfACond(t *testing.T) {
	everyBit(t, "cond", 32, 32, func(t testing.TB, what string, bit int) {
		for _, before := range []bool{false, true} {
			e := newEnding(t)
			var ready atomic.Bool
			done := inBackground(t, func() (err error) {
				c := e.cond.Prepare()
				for !ready.Load() && err == nil {
					err = c.Sleep(ctx)
				}
				c.Cancel()
				return err
			})
			until(e.cond.MayBeAsleep)
			if before {
				e.flip(atCond + bit)
			}
			ready.Store(true)
			e.cond.Signal()
			if !before {
				e.flip(atCond + bit)
			}
			done()
		}
	})
}

// TestEveryBitOfAMutex: each session gets the lock, whichever session its word named.
func TestEveryBitOfAMutex(t *testing.T) {
	stop := disavowing()
	defer stop()
	everyBit(t, "mutex", 32, 32, func(t testing.TB, what string, bit int) {
		for _, state := range []string{"free", "locked", "locked and waited for", "not unlocked"} {
			e := newEnding(t)
			var m [3]*shmsync.Mutex
			for i, self := range neighbours() {
				m[i] = shmsync.NewMutex(&e.mine.Mutex, self)
			}
			soon, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			lock := func(i int) error {
				g, err := m[i].Lock(soon)
				if err == nil {
					g.Unlock()
				}
				return err
			}
			var done []func()
			switch state {
			case "free":
				e.flip(atMutex + bit)
			case "locked":
				g := must(m[0].Lock(ctx))
				e.flip(atMutex + bit)
				g.Unlock()
			case "locked and waited for":
				g := must(m[0].Lock(ctx))
				done = append(done, inBackground(t, func() error { return lock(1) }), inBackground(t, func() error { return lock(2) }))
				until(e.mine.Mutex.Waiting)
				e.flip(atMutex + bit)
				g.Unlock()
			case "not unlocked": // a word that names a session that does not hold the lock, by more than one bit
				e.mine.Mutex.Name(m[bit%3])
			}
			for i := range m {
				if err := lock((i + 1) % 3); err != nil {
					t.Errorf("%s, %s: session %d: %v", what, state, i, err)
				}
			}
			for _, done := range done {
				done()
			}
			if g, ok := m[0].TryLock(); !ok {
				t.Errorf("%s, %s: TryLock fails in the end", what, state)
			} else {
				g.Unlock()
			}
		}
	})
}

// TestEveryBitOfAMailbox: what is rung is heard, no later than at the next beat, whichever bit is hit before or after.
func TestEveryBitOfAMailbox(t *testing.T) {
	for _, when := range []string{"before the ring", "after the ring"} {
		everyBit(t, when, 192*8, 64, func(t testing.TB, what string, bit int) {
			r := shm.NewRegion(make([]byte, 2*192))
			words := must(shm.SliceOf[shmsync.MailboxWord](r, 0, 2))
			raw := must(shm.SliceOf[atomic.Uint32](r, 0, 192/4))
			var w world
			me, other := shmsync.NewMailbox(words, nil, w.self(0)), shmsync.NewMailbox(words, nil, w.self(1))
			var rung atomic.Bool
			b := me.Take()
			defer b.Release()
			done := inBackground(t, func() (err error) {
				for !rung.Load() && err == nil {
					err = b.Wait(ctx)
				}
				return err
			})
			until(words[0].DealerSleeps)
			flip := func() {
				for at := &raw[bit/32]; ; {
					if v := at.Load(); at.CompareAndSwap(v, v^1<<(bit%32)) {
						return
					}
				}
			}
			if when == "before the ring" {
				flip()
			}
			rung.Store(true)
			other.Ring(w.self(0).Peer, b.Number())
			if when == "after the ring" {
				flip()
			}
			done()
		})
	}
}

// TestDisavowLeavesMutexesAlone: what is held for long stays held, and what is taken again and again.
func TestDisavowLeavesMutexesAlone(t *testing.T) {
	stop := disavowing()
	defer stop()
	e := newEnding(t)
	g := must(e.mutex.Lock(ctx))
	short, cancel := context.WithTimeout(ctx, 3500*time.Millisecond)
	defer cancel()
	other := shmsync.NewMutex(&e.theirs.Mutex, e.other)
	if _, err := other.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another session's Lock of what is held = %v", err)
	}
	g.Unlock()
	if g := must(other.Lock(ctx)); must2(g.Abandoned()) {
		t.Error("it was given back for its holder")
	} else {
		g.Unlock()
	}
}

func must2[T any](_ T, is bool) bool { return is }
