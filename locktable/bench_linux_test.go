package locktable_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/shmsync"
	"golang.org/x/sys/unix"
)

// cpu reports the processor time of an operation, which other programs on the machine change less than its duration.
func cpu(b *testing.B, f func(b *testing.B)) {
	used := func() time.Duration {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	f(b)
	b.ReportMetric(float64(used()-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkPairs measures a lock and its unlock, with no other process about, beside an LWLock by handle.
func BenchmarkPairs(b *testing.B) {
	w := new(world)
	x := w.tables(b, 1, locktable.Options{})[0]
	var word shmsync.LWLockWord
	l := shmsync.NewLWLock(&word, w.self(40))
	b.Run("LWLock", func(b *testing.B) {
		cpu(b, func(b *testing.B) {
			for b.Loop() {
				g, _ := l.Lock(ctx)
				g.Unlock()
			}
		})
	})
	for _, path := range [][]string{{digest(1)}, {"layers", digest(1)}} {
		n, err := x.Name(ctx, path...)
		must(b, err)
		b.Run(fmt.Sprintf("kept, %d parts", len(path)), func(b *testing.B) {
			cpu(b, func(b *testing.B) {
				for b.Loop() {
					h, _ := n.Lock(ctx, locktable.Exclusive)
					_ = h.Unlock()
				}
			})
		})
		b.Run(fmt.Sprintf("by name, %d parts", len(path)), func(b *testing.B) {
			cpu(b, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					h, _ := x.Lock(ctx, locktable.Exclusive, path...)
					_ = h.Unlock()
				}
			})
		})
	}
	b.Run("by name, for an owner", func(b *testing.B) {
		c, o := x.As(ctx, "works")
		defer o.Done()
		name := digest(1)
		cpu(b, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, _ := x.Lock(c, locktable.Exclusive, name)
				_ = h.Unlock()
			}
		})
	})
	names := make([]string, 1<<13) // more than a table keeps idle heads of
	var many []locktable.Want
	for i := range names {
		names[i] = digest(i)
		if i < 40 {
			many = append(many, locktable.Want{Mode: locktable.Exclusive, Path: []string{digest(i)}})
		}
	}
	b.Run("new name", func(b *testing.B) {
		cpu(b, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				h, _ := x.Lock(ctx, locktable.Exclusive, names[i%len(names)])
				_ = h.Unlock()
			}
		})
	})
	b.Run("40 names at once", func(b *testing.B) {
		cpu(b, func(b *testing.B) {
			for b.Loop() {
				hs, _ := x.LockMany(ctx, many...)
				_ = hs.Unlock()
			}
		})
	})
}

// BenchmarkList measures a look at 10,000 locks that are held.
func BenchmarkList(b *testing.B) {
	x := new(world).tables(b, 1, locktable.Options{})[0]
	const held = 10_000
	for i := range held {
		lock(b, x, ctx, locktable.Exclusive, digest(i))
	}
	cpu(b, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for range x.List() {
				n++
			}
			if n != held {
				b.Fatalf("%d of %d locks are listed", n, held)
			}
		}
	})
}
