package shmsync_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() { proctest.Register("pairs", pairsHelper) }

// benchArena is what two benchmarking processes share.
type benchArena struct {
	Lock  shmsync.LWLockWord
	Stop  atomic.Uint32
	_     [60]byte
	Pairs atomic.Uint64 // of the helper
}

func openBenchArena(dir string) (*benchArena, error) {
	b, err := openBytes(dir, 4096)
	if err != nil {
		return nil, err
	}
	return shm.At[benchArena](shm.NewRegion(b), 0)
}

func take(l *shmsync.LWLock, mode string) (shmsync.Guard, error) {
	if mode == "shared" {
		return l.RLock(ctx)
	}
	return l.Lock(ctx)
}

// pairsHelper: DIR MODE. It locks and unlocks until it is told to stop.
func pairsHelper(c *proctest.Child) error {
	a, err := openBenchArena(c.Args[0])
	if err != nil {
		return err
	}
	l := shmsync.NewLWLock(&a.Lock, self(2, 1))
	c.Say("ready")
	for n := uint64(0); a.Stop.Load() == 0; n++ {
		g, err := take(l, c.Args[1])
		if err != nil {
			return err
		}
		g.Unlock()
		if n%1024 == 0 {
			a.Pairs.Store(n)
		}
	}
	return nil
}

func self(row int, incarnation uint32) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: incarnation}, Alive: everybodyLives}
}

func BenchmarkLWLock(b *testing.B) {
	for _, mode := range []string{"exclusive", "shared"} {
		b.Run("alone/"+mode, func(b *testing.B) {
			l := shmsync.NewLWLock(new(shmsync.LWLockWord), self(1, 1))
			b.ReportAllocs()
			if mode == "shared" {
				for b.Loop() {
					g, _ := l.RLock(ctx)
					g.Unlock()
				}
				return
			}
			for b.Loop() {
				g, _ := l.Lock(ctx)
				g.Unlock()
			}
		})
		b.Run("two/"+mode, func(b *testing.B) {
			dir := b.TempDir()
			newBytes(b, dir, 4096)
			a, err := openBenchArena(dir)
			if err != nil {
				b.Fatal(err)
			}
			p := proctest.Start(b, "pairs", dir, mode)
			p.Expect("ready")
			l := shmsync.NewLWLock(&a.Lock, self(1, 1))
			before := a.Pairs.Load()
			b.ReportAllocs()
			for b.Loop() {
				g, err := take(l, mode)
				if err != nil {
					b.Fatal(err)
				}
				g.Unlock()
			}
			both := float64(b.N) + float64(a.Pairs.Load()-before)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/both, "ns/pair-of-both")
			a.Stop.Store(1)
			_ = p.Close()
		})
	}
	b.Run("alone/sync.RWMutex", func(b *testing.B) { // for comparison, within one process
		var mu sync.RWMutex
		n := 0
		for b.Loop() {
			mu.Lock()
			n++
			mu.Unlock()
		}
	})
	b.Run("alone/turns", func(b *testing.B) { // a reader after each writer
		l := shmsync.NewLWLock(new(shmsync.LWLockWord), self(1, 1))
		for b.Loop() {
			for _, mode := range []string{"exclusive", "shared"} {
				g, _ := take(l, mode)
				g.Unlock()
			}
		}
	})
}
