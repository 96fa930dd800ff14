//go:build linux

package shmsync_test

import (
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/shmsync"
)

func BenchmarkLatchRoundTrip(b *testing.B) {
	proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
		dir, s, me := newStage(b)
		p := startOnStage(b, "echo", dir, 1)
		pin(p)
		mine, theirs := owned(b, &s.Latches[0], me), shmsync.NewLatch(&s.Latches[1], me)
		peer, _ := theirs.Owner()
		n := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			n++
			if err := roundTrip(s, mine, theirs, n, peer); err != nil {
				b.Fatal(err)
			}
		}
		s.Stop.Store(1)
		theirs.Set()
		_ = p.Close()
	})
}

func BenchmarkBarrierPhase(b *testing.B) {
	proctest.Pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
		dir, s, me := newStage(b)
		pin(startOnStage(b, "joiner", dir, 1))
		bar := shmsync.NewBarrier(&s.Barrier, me)
		must(bar.Attach())
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bar.ArriveAndWait(ctx); err != nil {
				b.Fatal(err)
			}
		}
		must(bar.Detach())
	})
}
