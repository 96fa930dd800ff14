//go:build linux

package shmsync_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/proctest"
	"github.com/godsm/godsm/shm/shmsync"
	"golang.org/x/sys/unix"
)

// pinned runs f for two processes on one CPU, on one each, and where the scheduler puts them: what a wake-up costs depends on nothing so much.
func pinned(b *testing.B, f func(b *testing.B, pin func(p *proctest.Process))) {
	for name, cpus := range map[string][2]int{"same": {0, 0}, "diff": {0, 1}, "free": {-1, -1}} {
		b.Run(name, func(b *testing.B) {
			if cpus[1] >= runtime.NumCPU() {
				b.Skip("skipped: one CPU only")
			}
			f(b, func(p *proctest.Process) {
				if cpus[0] < 0 {
					return
				}
				pin(b, os.Getpid(), cpus[0])
				pin(b, p.Pid, cpus[1])
			})
			all := make([]int, runtime.NumCPU())
			for i := range all {
				all[i] = i
			}
			pin(b, os.Getpid(), all...)
		})
	}
}

// pin moves all threads of a process, which are few.
func pin(b *testing.B, pid int, cpus ...int) {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		_ = unix.SchedSetaffinity(tid, &set) // it may have ended
	}
}

func BenchmarkLatchRoundTrip(b *testing.B) {
	pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
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
	pinned(b, func(b *testing.B, pin func(*proctest.Process)) {
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
