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
	"unsafe"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func TestSizes(t *testing.T) {
	for name, got := range map[string][2]uintptr{
		"MutexWord":   {unsafe.Sizeof(shmsync.MutexWord{}), 4},
		"Count":       {unsafe.Sizeof(shmsync.Count{}), 4},
		"Cond":        {unsafe.Sizeof(shmsync.Cond{}), 4},
		"Slot":        {unsafe.Sizeof(shmsync.Slot{}), 8},
		"LatchWord":   {unsafe.Sizeof(shmsync.LatchWord{}), 16},
		"LWLockWord":  {unsafe.Sizeof(shmsync.LWLockWord{}), 256},
		"BarrierWord": {unsafe.Sizeof(shmsync.BarrierWord{}), 256},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %d bytes, its doc says %d", name, got[0], got[1])
		}
	}
	for name, err := range map[string]error{
		"Cond": shm.Check[shmsync.Cond](), "LatchWord": shm.Check[shmsync.LatchWord](),
		"LWLockWord": shm.Check[shmsync.LWLockWord](), "BarrierWord": shm.Check[shmsync.BarrierWord](),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// world is sessions that live until they are killed.
type world struct {
	mu   sync.Mutex
	dead map[shmsync.Peer]bool
}

func (w *world) alive(p shmsync.Peer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead[p]
}

func (w *world) self(row int) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: uint32(row) + 1<<31}, Alive: w.alive}
}

func (w *world) kill(row int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = map[shmsync.Peer]bool{}
	}
	w.dead[w.self(row).Peer] = true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

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
	if s := a.Status(); !slices.Equal(s.Exclusive, []shmsync.Peer{all.self(0).Peer}) || s.Shared != nil || s.Waiting != nil {
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
	r4, ok, err := b.TryRLock() // the writer that gave up keeps nobody out
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
	a, b, c := shmsync.NewLWLock(&w, all.self(1)), shmsync.NewLWLock(&w, all.self(2)), shmsync.NewLWLock(&w, all.self(3))
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
	if s := a.Status(); !slices.Equal(s.Waiting, []shmsync.Waiter{{Peer: all.self(3).Peer, Shared: true}}) || len(s.Shared) != 1 {
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

// TestLWLockCrashPoints lays out what a process leaves that is killed between any two instructions, and sees that the next one gets in.
func TestLWLockCrashPoints(t *testing.T) {
	var all world
	all.kill(7)
	all.kill(8)
	dead, dead2 := all.self(7).Peer, all.self(8).Peer
	one := []shmsync.Peer{dead}
	for _, c := range []struct {
		name      string
		owner     *shmsync.Peer
		flags     uint64
		readers   []shmsync.Peer
		waiters   []shmsync.Peer
		abandoned bool
	}{
		{"reader: slot entered, state not looked at", nil, 0, one, nil, false},
		{"reader: in", nil, shmsync.MayRead, one, nil, false},
		{"reader: in beside another dead one", nil, shmsync.MayRead, []shmsync.Peer{dead, dead2}, nil, false},
		{"reader: slot left, writer not woken", &dead2, shmsync.MayRead | shmsync.SleepS, nil, nil, false},
		{"reader: slot entered behind a writer, not yet taken back", &dead2, 0, one, nil, true},
		{"writer: owner, waiting for a dead reader", &dead, shmsync.MayRead, []shmsync.Peer{dead2}, nil, false},
		{"writer: owner, asleep for its own process's dead reader", &dead, shmsync.MayRead | shmsync.SleepX, one, nil, false},
		{"writer: in", &dead, 0, nil, nil, true},
		{"writer: in, others asleep", &dead, shmsync.SleepX | shmsync.SleepS | shmsync.Hungry, nil, []shmsync.Peer{dead2}, true},
		{"writer: in, taken over from another dead one", &dead, shmsync.Abandoned, nil, nil, true},
		{"writer: out, nobody woken yet", nil, shmsync.Hungry, nil, one, false},
		{"waiter: listed", nil, 0, nil, one, false},
		{"waiter: hungry", nil, shmsync.Hungry | shmsync.SleepX, nil, one, false},
		{"waiter: flag set", nil, shmsync.MayRead | shmsync.SleepS, nil, one, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, lock := range map[string]func(*shmsync.LWLock) (shmsync.Guard, bool, error){
				"Lock":     func(l *shmsync.LWLock) (shmsync.Guard, bool, error) { g, err := l.Lock(ctx); return g, true, err },
				"RLock":    func(l *shmsync.LWLock) (shmsync.Guard, bool, error) { g, err := l.RLock(ctx); return g, true, err },
				"TryLock":  (*shmsync.LWLock).TryLock,
				"TryRLock": (*shmsync.LWLock).TryRLock,
			} {
				w := new(shmsync.LWLockWord)
				w.Leave(c.owner, c.flags, c.readers, c.waiters)
				l := shmsync.NewLWLock(w, all.self(1))
				if s := l.Status(); s.Exclusive != nil || s.Shared != nil || s.Waiting != nil {
					t.Errorf("%s: the dead hold or wait: %+v", name, s)
				}
				g, ok, err := lock(l)
				if !ok || err != nil {
					t.Fatalf("%s = %v, %v", name, ok, err)
				}
				if g.Abandoned() != c.abandoned {
					t.Errorf("%s: abandoned %v", name, !c.abandoned)
				}
				if c.abandoned {
					if s := l.Status(); len(s.Exclusive) != 1 {
						t.Errorf("%s: who is to repair must be alone: %+v", name, s)
					}
				}
				g.MarkConsistent()
				g.Unlock()
				if !free(t, l) {
					t.Errorf("%s: not free afterwards, state %x", name, w.State())
				}
			}
		})
	}
}

func TestPoisoned(t *testing.T) {
	var w shmsync.LWLockWord
	var all world
	dead, a := shmsync.NewLWLock(&w, all.self(1)), shmsync.NewLWLock(&w, all.self(2))
	old := must(dead.Lock(ctx))
	waiting := make(chan error)
	go func() {
		b := shmsync.NewLWLock(&w, all.self(3))
		g, err := b.RLock(ctx)
		if err == nil { // may have been the first
			g.Unlock()
			_, err = b.RLock(ctx)
		}
		waiting <- err
	}()
	all.kill(1)
	g, err := a.Lock(ctx)
	if err == nil {
		old.Unlock() // by a session whose lock was rightly taken over
		if s := a.Status(); len(s.Exclusive) != 1 {
			t.Errorf("unlocked by the former holder: %+v", s)
		}
		g.Unlock() // and not repaired
	}
	if err := <-waiting; !errors.Is(err, shmsync.ErrNotRecoverable) {
		t.Errorf("RLock of a poisoned lock = %v", err)
	}
	for range 2 {
		if _, err := a.Lock(ctx); !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("Lock of a poisoned lock = %v", err)
		}
		if _, ok, err := a.TryRLock(); ok || !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("TryRLock of a poisoned lock = %v", err)
		}
	}
	if !a.Status().Poisoned {
		t.Error("status does not say poisoned")
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

// TestLWLockGoroutines: plain data behind the lock, on the heap and in mapped memory, so that the race detector sees the edges that
// goroutines of one process need; of two sessions, as one may attach twice.
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
	for name, mode := range map[string]struct{ many, one string }{"writer": {"shared", "exclusive"}, "reader": {"exclusive", "shared"}} {
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
