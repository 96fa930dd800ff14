package shmsync_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func free(t *testing.T, l *shmsync.LWLock) bool {
	t.Helper()
	g, ok, err := l.TryLock()
	if err != nil {
		t.Error(err)
	}
	if ok {
		g.Unlock()
	}
	return ok
}

func TestLWLock(t *testing.T) {
	var w shmsync.LWLockWord
	var all world
	a, b := shmsync.NewLWLock(&w, all.self(0)), shmsync.NewLWLock(&w, all.self(shmsync.MaxRows-1))

	x := must(a.Lock(ctx))
	for _, l := range []*shmsync.LWLock{a, b} {
		if _, ok, err := l.TryLock(); ok || err != nil {
			t.Errorf("TryLock of a held lock = %v, %v", ok, err)
		}
		if _, ok, err := l.TryRLock(); ok || err != nil {
			t.Errorf("TryRLock of a held lock = %v, %v", ok, err)
		}
		short, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
		if _, err := l.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock = %v", err)
		}
		if _, err := l.RLock(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("RLock = %v", err)
		}
		cancel()
	}
	if s := a.Status(); !slices.Equal(s.Exclusive, []shmsync.Peer{all.self(0).Peer}) ||
		s.Shared != nil || s.Waiting != nil {
		t.Errorf("status %+v", s)
	}
	x.Unlock()

	r1, r2, r3 := must(a.RLock(ctx)), must(a.RLock(ctx)), must(b.RLock(ctx))
	if s := b.Status(); len(s.Shared) != 2 || s.Exclusive != nil {
		t.Errorf("status %+v", s)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock beside readers = %v", err)
	}
	r4, ok, err := b.TryRLock() // the writer that gave up keeps no process out
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, g := range []shmsync.Guard{r1, r2, r3, r4} {
		if free(t, a) || free(t, b) {
			t.Error("a writer beside readers")
		}
		g.Unlock()
	}
	if !free(t, a) || !free(t, b) {
		t.Error("not free")
	}
	if x := must(a.Lock(ctx)); x.Abandoned() {
		t.Error("abandoned without a death")
	} else {
		x.Unlock()
	}
}

func TestLWLockWaits(t *testing.T) {
	var w shmsync.LWLockWord
	var all world
	a, b, c := shmsync.NewLWLock(&w, all.self(1)),
		shmsync.NewLWLock(&w, all.self(2)), shmsync.NewLWLock(&w, all.self(3))
	r := must(a.RLock(ctx))
	order := make(chan string, 2)
	var wg sync.WaitGroup
	enter := func(name string, lock func(context.Context) (shmsync.Guard, error)) {
		g, err := lock(ctx)
		if err != nil {
			t.Error(err)
		}
		order <- name
		g.Unlock()
	}
	wg.Go(func() { enter("writer", b.Lock) })
	for len(a.Status().Exclusive) == 0 { // the writer has come, and waits for the reader
		runtime.Gosched()
	}
	if _, ok, _ := c.TryRLock(); ok {
		t.Error("a reader overtakes a writer that waits")
	}
	wg.Go(func() { enter("reader", c.RLock) })
	for len(a.Status().Waiting) == 0 {
		runtime.Gosched()
	}
	if s := a.Status(); !slices.Equal(s.Waiting, []shmsync.Waiter{{Peer: all.self(3).Peer, Shared: true}}) ||
		len(s.Shared) != 1 {
		t.Errorf("status %+v", s)
	}
	r.Unlock()
	wg.Wait()
	if first, second := <-order, <-order; first != "writer" || second != "reader" {
		t.Errorf("%s before %s", first, second)
	}
	if s := a.Status(); s.Exclusive != nil || s.Shared != nil || s.Waiting != nil {
		t.Errorf("left: %+v", s)
	}
}

// TestReaderSlots: no more processes read at once than there are slots; the dead take none, and more slots take more.
func TestReaderSlots(t *testing.T) {
	var w struct {
		lock shmsync.LWLockWord
		more [8]shmsync.Slot
	}
	var all world
	const n = 24
	var guards []shmsync.Guard
	for row := range n {
		guards = append(guards, must(shmsync.NewLWLock(&w.lock, all.self(row), w.more[:]...).RLock(ctx)))
	}
	late := shmsync.NewLWLock(&w.lock, all.self(n), w.more[:]...)
	if s := late.Status(); len(s.Shared) != n {
		t.Errorf("%d readers are listed", len(s.Shared))
	}
	if _, ok, err := late.TryRLock(); ok || err != nil {
		t.Errorf("one too many = %v, %v", ok, err)
	}
	all.kill(3)
	g, err := late.RLock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	guards[3].Unlock() // whose slot is the late one's now
	if s := late.Status(); len(s.Shared) != n {
		t.Errorf("%d readers are listed", len(s.Shared))
	}
	for i, g := range guards {
		if i != 3 {
			g.Unlock()
		}
	}
	if free(t, late) {
		t.Error("free beside a reader")
	}
	g.Unlock()
	if !free(t, late) {
		t.Error("not free")
	}
}

// TestLWLockGoroutines: plain data behind the lock, on the heap and in mapped memory, so that the race detector
// sees the edges that goroutines of one process need; of two sessions, as one may attach twice.
func TestLWLockGoroutines(t *testing.T) {
	mapped := newBytes(t, t.TempDir(), 4096)
	for name, w := range map[string]*shmsync.LWLockWord{
		"heap": new(shmsync.LWLockWord), "mapped": must(shm.At[shmsync.LWLockWord](shm.NewRegion(mapped), 0)),
	} {
		t.Run(name, func(t *testing.T) {
			var all world
			locks := []*shmsync.LWLock{shmsync.NewLWLock(w, all.self(1)), shmsync.NewLWLock(w, all.self(2))}
			var a, b int
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					l := locks[i%2]
					for k := range 2000 {
						if k%4 == 0 {
							g, err := l.Lock(ctx)
							if err != nil {
								t.Error(err)
								return
							}
							a++
							b++
							g.Unlock()
							continue
						}
						g, err := l.RLock(ctx)
						if err != nil {
							t.Error(err)
							return
						}
						if a != b {
							t.Error("a reader saw a writer at work")
						}
						g.Unlock()
					}
				})
			}
			wg.Wait()
			if a != 4000 {
				t.Errorf("counted %d", a)
			}
			if s := locks[0].Status(); s.Exclusive != nil || s.Shared != nil || s.Waiting != nil {
				t.Errorf("left: %+v", s)
			}
		})
	}
}

// TestNobodyStarves: a writer among readers that overlap for ever, and a reader among writers, get through.
func TestNobodyStarves(t *testing.T) {
	for name, mode := range map[string]struct{ many, one string }{
		"writer": {"shared", "exclusive"},
		"reader": {"exclusive", "shared"},
	} {
		t.Run(name, func(t *testing.T) {
			var w shmsync.LWLockWord
			var all world
			var stop atomic.Bool
			var wg sync.WaitGroup
			for row := range 4 {
				wg.Go(func() {
					l := shmsync.NewLWLock(&w, all.self(row))
					for !stop.Load() {
						g := must(take(l, mode.many))
						runtime.Gosched()
						g.Unlock()
					}
				})
			}
			l := shmsync.NewLWLock(&w, all.self(9))
			for range 200 {
				g := must(take(l, mode.one))
				g.Unlock()
			}
			stop.Store(true)
			wg.Wait()
		})
	}
}

func TestGoroutinesOfOneProcessWaitWithFewThreads(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: threads are counted on Linux only")
	}
	var w shmsync.LWLockWord
	var all world
	l := shmsync.NewLWLock(&w, all.self(1))
	g := must(l.Lock(ctx))
	before := threads(t)
	over, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := l.RLock(over); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for len(l.Status().Waiting) == 0 {
		runtime.Gosched()
	}
	if n := threads(t) - before; n > 20 {
		t.Errorf("200 goroutines that wait cost %d threads", n)
	}
	cancel()
	wg.Wait()
	g.Unlock()
}
