package shmsync_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	proctest.Register("hammer", hammerHelper)
	proctest.Main(m)
}

func everybodyLives(shmsync.Peer) bool { return true }

func TestLockAndUnlock(t *testing.T) {
	var w shmsync.MutexWord
	// An incarnation of which nothing is left in the word.
	a := shmsync.NewMutex(&w, shmsync.Self{Peer: shmsync.Peer{Row: 0, Incarnation: 1 << 20}, Alive: everybodyLives})
	b := shmsync.NewMutex(&w,
		shmsync.Self{Peer: shmsync.Peer{Row: shmsync.MaxRows - 1, Incarnation: 7}, Alive: everybodyLives})
	if _, held := w.Owner(); held {
		t.Error("the zero word is locked")
	}
	g, ok := a.TryLock()
	if !ok {
		t.Fatal("a free lock was not to be had")
	}
	if h, held := w.Owner(); !held || h.Row != 0 {
		t.Errorf("owner %+v, %v", h, held)
	}
	if _, ok := a.TryLock(); ok {
		t.Error("locked twice by one holder")
	}
	if _, ok := b.TryLock(); ok {
		t.Error("locked twice")
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	for _, m := range []*shmsync.Mutex{a, b} {
		if _, err := m.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock of a held lock = %v", err)
		}
	}
	g.Unlock()
	g, err := b.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if h, held := w.Owner(); !held || h.Row != shmsync.MaxRows-1 || h.Incarnation != 7 {
		t.Errorf("owner %+v, %v", h, held)
	}
	if _, abandoned := g.Abandoned(); abandoned {
		t.Error("a lock that was given back is not abandoned")
	}
	g.Unlock()
	if _, held := w.Owner(); held {
		t.Error("still locked")
	}
}

func TestTakenOverFromTheDead(t *testing.T) {
	var w shmsync.MutexWord
	dead := shmsync.Peer{Row: 3, Incarnation: 9}
	var killed atomic.Bool
	alive := func(h shmsync.Peer) bool { return h != dead || !killed.Load() }
	d := shmsync.NewMutex(&w, shmsync.Self{Peer: dead, Alive: alive})
	old, _ := d.TryLock()
	b := shmsync.NewMutex(&w, shmsync.Self{Peer: shmsync.Peer{Row: 4, Incarnation: 1}, Alive: alive})
	got := make(chan shmsync.MutexGuard)
	go func() {
		g, err := b.Lock(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- g
	}()
	killed.Store(true)
	g := <-got
	if h, abandoned := g.Abandoned(); !abandoned || h != dead {
		t.Errorf("Abandoned() = %+v, %v", h, abandoned)
	}
	old.Unlock() // by one who was rightly found dead: it must not unlock the other's
	if h, held := w.Owner(); !held || h.Row != 4 {
		t.Errorf("owner %+v, %v", h, held)
	}
	g.Unlock()
	g, err := d.LockOwnerDead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, abandoned := g.Abandoned(); abandoned {
		t.Error("abandoned twice")
	}
	g.Unlock()
}

// TestGoroutines: plain data behind the lock, so that the race detector sees the edges of one process.
func TestGoroutines(t *testing.T) {
	var w shmsync.MutexWord
	var n int
	m := shmsync.NewMutex(&w, shmsync.Self{Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: everybodyLives})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				g, err := m.Lock(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				n++
				g.Unlock()
			}
		})
	}
	wg.Wait()
	if n != 8000 {
		t.Errorf("counted %d", n)
	}
}

func TestCount(t *testing.T) {
	var c shmsync.EventCount
	done := make(chan uint32)
	go func() {
		n := uint32(0)
		for n == 0 {
			n = c.Await(ctx, 0, time.Minute)
		}
		done <- n
	}()
	runtime.Gosched()
	c.Advance()
	if n := <-done; n != 1 {
		t.Errorf("waited until %d", n)
	}
	if n := c.Await(ctx, 0, time.Hour); n != 1 {
		t.Errorf("Wait for what has come already = %d", n)
	}
	c.Set()
	if n := c.Load(); n != 1 {
		t.Errorf("Set of 1 made it %d", n)
	}
}

// arena is what the hammering processes share: a lock, and numbers that are equal whenever no process is in a section.
type arena struct {
	Lock    shmsync.MutexWord
	_       [60]byte
	A       atomic.Uint64
	_       [56]byte
	B       atomic.Uint64
	Inside  atomic.Int32
	Wrong   atomic.Uint32
	Repairs atomic.Uint32
	Rounds  atomic.Uint64
	Rows    [16]atomic.Uint32 // incarnations
}

func openArena(dir string) (*arena, *liveness.Roll, error) {
	b, err := openBytes(dir, 4096)
	if err != nil {
		return nil, nil, err
	}
	a, err := shm.At[arena](shm.NewRegion(b), 0)
	if err != nil {
		return nil, nil, err
	}
	roll, err := liveness.Open(filepath.Join(dir, "members"))
	return a, roll, err
}

// hammerHelper: DIR ROW. It takes the lock for ever, and writes both numbers, between which it may be killed.
func hammerHelper(c *proctest.Child) error {
	a, roll, err := openArena(c.Args[0])
	if err != nil {
		return err
	}
	row, _ := strconv.Atoi(c.Args[1])
	for ok := false; !ok; { // the last one's death may not have been noticed
		if ok, err = roll.Take(row); err != nil {
			return err
		}
	}
	self := shmsync.Peer{Row: row, Incarnation: a.Rows[row].Add(1)}
	m := shmsync.NewMutex(&a.Lock, shmsync.Self{Peer: self, Alive: func(h shmsync.Peer) bool {
		return h.Row >= 0 && h.Row < len(a.Rows) && a.Rows[h.Row].Load() == h.Incarnation && roll.Held(h.Row)
	}})
	c.Say("hammering")
	for {
		g, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		if _, abandoned := g.Abandoned(); abandoned {
			a.Repairs.Add(1)
			a.B.Store(a.A.Load())
			a.Inside.Store(0)
		}
		if a.Inside.Add(1) != 1 || a.A.Load() != a.B.Load() {
			a.Wrong.Add(1)
		}
		a.A.Add(1)
		for range rand.IntN(50) {
			_ = a.Rounds.Load()
		}
		a.B.Add(1)
		a.Inside.Add(-1)
		a.Rounds.Add(1)
		g.Unlock()
	}
}

// TestKilledHolders: processes that hold a lock in turn are killed at any instruction; the others go on, repair
// what the dead one left, and never see two inside.
func TestKilledHolders(t *testing.T) {
	dir := t.TempDir()
	newBytes(t, dir, 4096)
	if err := liveness.Create(filepath.Join(dir, "members")); err != nil {
		t.Fatal(err)
	}
	a, roll, err := openArena(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(roll.Close)
	start := func(row int) *proctest.Process {
		p := proctest.Start(t, "hammer", dir, strconv.Itoa(row))
		p.Expect("hammering")
		return p
	}
	procs := []*proctest.Process{start(0), start(1), start(2)}
	for kill := range kills(100) {
		before := a.Rounds.Load()
		for a.Rounds.Load() < before+100 { // progress, whichever process died
			runtime.Gosched()
		}
		row := kill % len(procs)
		procs[row].Kill()
		procs[row] = start(row)
	}
	if n := a.Wrong.Load(); n != 0 {
		t.Errorf("%d times two were inside, or a half-written state was seen", n)
	}
	t.Logf("%d rounds, %d taken over in %d kills", a.Rounds.Load(), a.Repairs.Load(), kills(100))
}

func BenchmarkMutex(b *testing.B) {
	var w shmsync.MutexWord
	m := shmsync.NewMutex(&w, shmsync.Self{Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: everybodyLives})
	b.ReportAllocs()
	for b.Loop() {
		g, _ := m.TryLock()
		g.Unlock()
	}
}
