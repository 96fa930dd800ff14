package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/viewtest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// endArena is one word of each kind, whose view ends.
type endArena struct {
	Lock    shmsync.LWLockWord
	Barrier shmsync.BarrierWord
	Latch   shmsync.LatchWord
	Cond    shmsync.Cond
	Count   shmsync.EventCount
	Mutex   shmsync.MutexWord
}

// ending is one test's arena: this session's view of it, which ends, and that of another one that lives on.
type ending struct {
	*viewtest.Bytes
	mine, theirs *endArena
	me, other    shmsync.Self

	lock    *shmsync.LWLock
	barrier *shmsync.Barrier
	latch   *shmsync.Latch
	mutex   *shmsync.Mutex
	cond    *shmsync.Cond
	count   *shmsync.EventCount
	dead    *atomic.Bool // the peer in the last row is
}

func newEnding(t testing.TB) *ending { return newEndingOf(t, false) }

// newEndingOf is newEnding with a session that may be one in checked mode.
func newEndingOf(t testing.TB, checked bool) *ending {
	e := &ending{Bytes: viewtest.New(t, 4096), me: self(1, 1), other: self(2, 1), dead: new(atomic.Bool)}
	e.me.Checked = checked
	e.me.Alive = func(p shmsync.Peer) bool { return p.Row != shmsync.MaxRows-1 || !e.dead.Load() }
	e.other.Alive = e.me.Alive
	e.mine, e.theirs = must(shm.At[endArena](e.Region, 0)), must(shm.At[endArena](e.Others, 0))
	e.lock, e.barrier = shmsync.NewLWLock(&e.mine.Lock, e.me), shmsync.NewBarrier(&e.mine.Barrier, e.me)
	e.latch, e.mutex = shmsync.NewLatch(&e.mine.Latch, e.me), shmsync.NewMutex(&e.mine.Mutex, e.me)
	e.cond, e.count = &e.mine.Cond, &e.mine.Count
	return e
}

// given reports what the session that ended has not given back, though it lives.
func (e *ending) given(t testing.TB, when string) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	l := shmsync.NewLWLock(&e.theirs.Lock, e.other)
	g, err := l.Lock(soon)
	if err != nil || len(l.Status().Shared) != 0 {
		t.Errorf("%s: the lock was not given back: %v, %+v, state %x", when, err, l.Status(), e.theirs.Lock.State())
	}
	g.MarkConsistent()
	g.Unlock()
	m, err := shmsync.NewMutex(&e.theirs.Mutex, e.other).Lock(soon)
	if err != nil {
		t.Errorf("%s: the mutex was not given back: %v", when, err)
	} else {
		m.Unlock()
	}
	la := shmsync.NewLatch(&e.theirs.Latch, e.other)
	if p, owned := la.Owner(); owned && p == e.me.Peer {
		t.Errorf("%s: the latch was not given back", when)
	}
	for _, p := range shmsync.NewBarrier(&e.theirs.Barrier, e.other).Participants() {
		if p == e.me.Peer {
			t.Errorf("%s: it still takes part in the barrier", when)
		}
	}
}

// guards are what calls leave for others: of a lock that is held.
type held struct {
	g shmsync.Guard
	m shmsync.MutexGuard
	t shmsync.Ticket
}

// calls are all methods, by name. Each may wait, a while at most. Those without an error return nil.
func (e *ending) calls() map[string]func(ctx context.Context) error {
	guard := func(g shmsync.Guard, err error) error {
		if err == nil {
			g.Exclusive()
			g.Abandoned()
			g.MarkConsistent()
			g.Unlock()
		}
		return err
	}
	tried := func(g shmsync.Guard, ok bool, err error) error {
		if !ok {
			return err
		}
		return guard(g, err)
	}
	quiet := func(f func()) func(context.Context) error { return func(context.Context) error { f(); return nil } }
	return map[string]func(ctx context.Context) error{
		"LWLock.Lock": func(ctx context.Context) error { return guard(e.lock.Lock(ctx)) },
		"LWLock.Do": func(ctx context.Context) error {
			err := e.lock.Do(ctx, func() error { return nil })
			if errors.Is(err, shmsync.ErrNotRecoverable) { // what a dead holder left is for Lock, or Recover
				return nil
			}
			return err
		},
		"LWLock.RLock":    func(ctx context.Context) error { return guard(e.lock.RLock(ctx)) },
		"LWLock.Recover":  func(ctx context.Context) error { return guard(e.lock.Recover(ctx)) },
		"LWLock.TryLock":  func(context.Context) error { return tried(e.lock.TryLock()) },
		"LWLock.TryRLock": func(context.Context) error { return tried(e.lock.TryRLock()) },
		"LWLock.Status":   quiet(func() { e.lock.Status() }),
		"Mutex.Lock": func(ctx context.Context) error {
			g, err := e.mutex.Lock(ctx)
			if err == nil {
				g.Unlock()
			}
			return err
		},
		"Mutex.LockOwnerDead": func(ctx context.Context) error {
			g, err := e.mutex.LockOwnerDead(ctx)
			if err == nil {
				g.Abandoned()
				g.Unlock()
			}
			return err
		},
		"Mutex.TryLock": quiet(func() {
			if g, ok := e.mutex.TryLock(); ok {
				g.Unlock()
			}
		}),
		"Latch.Own": func(context.Context) error {
			if err := e.latch.Own(); !errors.Is(err, shmsync.ErrOwned) {
				return err
			}
			return nil
		},
		"Latch.Disown": quiet(e.latch.Disown),
		"Latch.Owner":  quiet(func() { e.latch.Owner() }),
		"Latch.Set":    quiet(e.latch.Set),
		"Latch.Reset":  quiet(e.latch.Reset),
		"Latch.IsSet":  quiet(func() { e.latch.IsSet() }),
		"Latch.Wait": func(ctx context.Context) error {
			if err := e.latch.Wait(ctx, e.other.Peer); !errors.Is(err, shmsync.ErrNotOwner) {
				return err
			}
			return nil
		},
		"Barrier.Phase":        quiet(func() { e.barrier.Phase() }),
		"Barrier.Participants": quiet(func() { e.barrier.Participants() }),
		"Barrier.Attach": func(context.Context) error {
			_, err := e.barrier.Attach()
			return err
		},
		"Barrier.ArriveAndWait": func(ctx context.Context) error {
			_, err := e.barrier.ArriveAndWait(ctx)
			return notAttached(err)
		},
		"Barrier.ArriveAndDetach": func(context.Context) error {
			_, err := e.barrier.ArriveAndDetach()
			return notAttached(err)
		},
		"Barrier.Detach": func(context.Context) error {
			_, err := e.barrier.Detach()
			return notAttached(err)
		},
		"Cond.Prepare":   quiet(func() { t := e.cond.Prepare(); t.Cancel() }),
		"Cond.Signal":    quiet(e.cond.Signal),
		"Cond.Broadcast": quiet(e.cond.Broadcast),
		"Ticket.Sleep": func(ctx context.Context) error {
			t := e.cond.Prepare()
			defer t.Cancel()
			return t.Sleep(ctx)
		},
		"EventCount.Await": func(ctx context.Context) error { e.count.Await(ctx, 0, time.Millisecond); return nil },
	}
}

// silent are methods whose doc says that they have no answer after the end, or that are called by others here.
var silent = []string{
	"LWLock.Bar", "LWLock.Mine", "LWLock.OnFault", "Guard.Abandoned", "Guard.Exclusive", "Guard.MarkConsistent", "Guard.Unlock", "MutexGuard.Abandoned", "MutexGuard.Unlock",
	"Ticket.Cancel", "Cond.MayBeAsleep", "EventCount.Advance", "EventCount.Load", "EventCount.WakeAll", "EventCount.Set",
}

func notAttached(err error) error {
	if err != nil && strings.Contains(err.Error(), "does not take part in the barrier") {
		return nil
	}
	return err
}

// TestNoMethodIsForgotten compares the table of calls with what there is.
func TestNoMethodIsForgotten(t *testing.T) {
	calls := newEnding(t).calls()
	for _, x := range []any{
		new(shmsync.LWLock), shmsync.Guard{}, new(shmsync.Latch), new(shmsync.Barrier), new(shmsync.Mutex),
		shmsync.MutexGuard{}, new(shmsync.Cond), new(shmsync.Ticket), new(shmsync.EventCount),
	} {
		typ := reflect.TypeOf(x)
		name := typ.String()[strings.LastIndex(typ.String(), ".")+1:]
		for i := range typ.NumMethod() {
			m := name + "." + typ.Method(i).Name
			if _, is := calls[m]; !is && !slices.Contains(silent, m) {
				t.Errorf("%s is in no table", m)
			}
		}
	}
}

// TestAfterTheEnd: each call is ErrClosed, or does nothing; in checked mode, too.
func TestAfterTheEnd(t *testing.T) {
	for _, checked := range []bool{false, true} {
		e := newEnding(t)
		e.me.Checked = checked
		held := []held{{g: must(e.lock.Lock(ctx)), m: must(e.mutex.Lock(ctx)), t: e.cond.Prepare()}}
		must(e.barrier.Attach())
		if err := e.latch.Own(); err != nil {
			t.Fatal(err)
		}
		if checked {
			e.EndChecked()
		} else {
			e.End()
		}
		for name, call := range e.calls() {
			if err := call(ctx); err != nil && !errors.Is(err, shmsync.ErrClosed) {
				t.Errorf("%s = %v", name, err)
			} else if err == nil && strings.Contains("Lock RLock Recover Own Wait Attach Sleep", name[strings.Index(name, ".")+1:]) &&
				name != "EventCount.Await" {
				t.Errorf("%s says nothing of the end", name)
			}
		}
		for _, h := range held {
			h.g.MarkConsistent()
			if h.g.Abandoned() {
				t.Error("abandoned")
			}
			h.g.Unlock()
			h.m.Unlock()
			h.t.Cancel()
		}
		l := shmsync.NewLWLock(&e.theirs.Lock, e.other)
		if g, ok, err := l.TryLock(); !ok || err != nil || !g.Abandoned() {
			t.Errorf("TryLock of what the end gave back: %v, %v, abandoned %v", ok, err, ok && g.Abandoned())
		} else {
			g.MarkConsistent()
			g.Unlock()
		}
		e.given(t, fmt.Sprint("checked ", checked))
	}
}

// TestEndWakes: each call that waits for another session ends with the view.
func TestEndWakes(t *testing.T) {
	e := newEnding(t)
	g := must(shmsync.NewLWLock(&e.theirs.Lock, e.other).Lock(ctx))
	defer g.Unlock()
	m := must(shmsync.NewMutex(&e.theirs.Mutex, e.other).Lock(ctx))
	defer m.Unlock()
	must(shmsync.NewBarrier(&e.theirs.Barrier, e.other).Attach())
	must(e.barrier.Attach())
	if err := e.latch.Own(); err != nil {
		t.Fatal(err)
	}
	calls := e.calls()
	var wg sync.WaitGroup
	var begun atomic.Int32
	for _, name := range []string{
		"LWLock.Lock", "LWLock.Lock", "LWLock.RLock", "LWLock.Recover", "Mutex.Lock", "Mutex.Lock", "Latch.Wait",
		"Barrier.ArriveAndWait", "Ticket.Sleep",
	} {
		wg.Go(func() {
			begun.Add(1)
			for {
				err := calls[name](ctx)
				if errors.Is(err, shmsync.ErrClosed) {
					return
				}
				if err != nil || name != "Ticket.Sleep" {
					t.Errorf("%s = %v", name, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		begun.Add(1)
		e.count.Await(ctx, 0, time.Hour)
	})
	for begun.Load() < 10 || !e.cond.MayBeAsleep() || !e.mine.Latch.MayBeAsleep() ||
		e.mine.Lock.State()&(shmsync.SleepX|shmsync.SleepS) == 0 {
		time.Sleep(time.Millisecond)
	}
	e.End()
	wg.Wait()
}

// TestEndWhileInUse: goroutines use everything while the view ends: nothing faults, hangs, or stays held.
func TestEndWhileInUse(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	for round := range rounds {
		e := newEnding(t)
		calls := e.calls()
		names := slices.Sorted(maps.Keys(calls))
		var wg sync.WaitGroup
		var n atomic.Int64
		for i := range 4 {
			wg.Go(func() {
				for k := i * 7; ; k += 1 + i {
					name := names[k%len(names)]
					short, cancel := context.WithTimeout(ctx, time.Millisecond)
					err := calls[name](short)
					cancel()
					if err != nil && !errors.Is(err, shmsync.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) &&
						!errors.Is(err, shmsync.ErrFull) {
						t.Errorf("%s = %v", name, err)
					}
					if n.Add(1); e.View.Ended() && n.Load() > 1<<30 {
						return
					}
					if e.View.Ended() && err != nil {
						return
					}
				}
			})
		}
		for n.Load() < int64(round%50*3) {
			time.Sleep(10 * time.Microsecond)
		}
		e.End()
		wg.Wait()
		e.given(t, fmt.Sprint("round ", round))
	}
}
