//go:build linux

package dsm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"golang.org/x/sys/unix"
)

// The costs of a segment beside those of the same system calls without us, turn by turn, so that drift hits both alike:
// raw-ns and dsm-ns are medians, x is how they stand to each other.
//
//	go test ./dsm -run '^$' -bench . -count 7

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20, 16 << 20}

func benchSession(b *testing.B, backend string, settings ...string) (*dsm.Session, dsm.Config) {
	b.Helper()
	cfg := instancetest.Config(b, backend, append(settings, "max_segments", "4096", "max_processes", "256")...)
	cfg.Logger = dsm.Config{}.Logger
	instancetest.Start(b, cfg)
	return instancetest.Open(b, cfg), cfg
}

// beside runs raw and ours in turns.
func beside(b *testing.B, raw, ours func() error) {
	b.Helper()
	var rawTimes, ourTimes []time.Duration
	for b.Loop() {
		rawTimes = append(rawTimes, timed(b, 1, raw))
		ourTimes = append(ourTimes, timed(b, 1, ours))
	}
	r, o := median(rawTimes), median(ourTimes)
	b.ReportMetric(0, "ns/op") // of both together: means nothing
	b.ReportMetric(float64(r), "raw-ns")
	b.ReportMetric(float64(o), "dsm-ns")
	b.ReportMetric(float64(o)/float64(r), "x")
	b.ReportMetric(testing.AllocsPerRun(10, func() { _ = ours() })-testing.AllocsPerRun(10, func() { _ = raw() }),
		"more-allocs")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func BenchmarkCreateDetach(b *testing.B) {
	for _, backend := range []string{"posix", "mmap"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%dKiB", backend, size>>10), func(b *testing.B) {
				s, _ := benchSession(b, backend)
				beside(b, rawCreate(rawPath(b, s), size), createDetach(s, size))
			})
		}
	}
	b.Run("sysv/4KiB", func(b *testing.B) {
		s, _ := benchSession(b, "sysv")
		beside(b, rawSysV, createDetach(s, 4096))
	})
}

// BenchmarkReserved is create and detach in the reserved region, alone and with other segments held, beside the
// same through the system and turn by turn with it: x is how many times the system's cost is ours.
func BenchmarkReserved(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, held := range []int{0, 500} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, held), func(b *testing.B) {
				posix, _ := benchSession(b, "posix")
				s, _ := benchSession(b, "posix", "min_dynamic_shared_memory", "16MB")
				for range held {
					if _, err := s.Create(ctx, s.Owner(), 4096); err != nil {
						b.Fatal(err)
					}
				}
				carve, object := createDetach(s, size), createDetach(posix, size)
				var ours, its []time.Duration
				for b.Loop() {
					ours = append(ours, timed(b, 1000, carve)) // in batches: it takes as long as looking at the clock
					its = append(its, timed(b, 10, object))
				}
				o, p := median(ours), median(its)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(o), "region-ns")
				b.ReportMetric(float64(p), "posix-ns")
				b.ReportMetric(float64(p)/float64(o), "x")
				b.ReportMetric(testing.AllocsPerRun(100, func() { _ = carve() }), "allocs")
			})
		}
	}
}

// timed is what one of n calls takes.
func timed(b *testing.B, n int, f func() error) time.Duration {
	begin := time.Now()
	for range n {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / time.Duration(n)
}

// rawPath is a path like those of the session's objects, of a file that isn't there.
func rawPath(b *testing.B, s *dsm.Session) string {
	g, err := s.Create(ctx, s.Owner(), 1)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Detach()
	list, err := s.Segments(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(filepath.Dir(list[0].OSName), fmt.Sprintf("dsm-bench-raw-%015d", os.Getpid()))
}

func createDetach(s *dsm.Session, size int) func() error {
	return func() error {
		g, err := s.Create(ctx, s.Owner(), size)
		if err != nil {
			return err
		}
		return g.Detach()
	}
}

func rawCreate(path string, size int) func() error {
	return func() error {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
			return err
		}
		p, err := unix.MmapPtr(fd, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		unix.Close(fd)
		if err := unix.MunmapPtr(p, uintptr(size)); err != nil {
			return err
		}
		return unix.Unlink(path)
	}
}

func rawSysV() error {
	id, err := unix.SysvShmGet(0x7fedcba9, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		return err
	}
	m, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return err
	}
	_ = unix.SysvShmDetach(m)
	_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	return err
}

func BenchmarkAttachDetach(b *testing.B) {
	for _, size := range benchSizes {
		s, cfg := benchSession(b, "posix")
		g, err := s.Create(ctx, s.Owner(), size)
		if err != nil {
			b.Fatal(err)
		}
		list, err := s.Segments(ctx)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%dKiB/first", size>>10), func(b *testing.B) {
			other := instancetest.Open(b, cfg)
			beside(b, rawAttach(list[0].OSName), attachDetach(other, g.Handle()))
		})
		b.Run(fmt.Sprintf("%dKiB/second", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			again := attachDetach(s, g.Handle())
			for b.Loop() {
				if err := again(); err != nil {
					b.Fatal(err)
				}
			}
		})
		_ = s.Close()
	}
}

func attachDetach(s *dsm.Session, h dsm.Handle) func() error {
	return func() error {
		g, err := s.Attach(ctx, s.Owner(), h)
		if err != nil {
			return err
		}
		return g.Detach()
	}
}

func rawAttach(path string) func() error {
	return func() error {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		p, err := unix.MmapPtr(fd, 0, nil, uintptr(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		unix.Close(fd)
		return unix.MunmapPtr(p, uintptr(st.Size))
	}
}

// BenchmarkLive: neither grows with the number of live segments, beyond what the mount itself does.
func BenchmarkLive(b *testing.B) {
	for _, live := range []int{10, 1000} {
		s, cfg := benchSession(b, "posix")
		other := instancetest.Open(b, cfg)
		var h dsm.Handle
		for i := range live {
			g, err := s.Create(ctx, s.Owner(), 4096)
			if err != nil {
				b.Fatal(err)
			}
			if i == live/2 {
				h = g.Handle()
			}
		}
		b.Run(fmt.Sprintf("create/%d", live), func(b *testing.B) {
			beside(b, rawCreate(rawPath(b, s), 4096), createDetach(s, 4096))
		})
		b.Run(fmt.Sprintf("attach/%d", live), func(b *testing.B) {
			list, err := s.Segments(ctx)
			if err != nil {
				b.Fatal(err)
			}
			beside(b, rawAttach(list[live/2].OSName), attachDetach(other, h))
		})
		_ = s.Close()
	}
}
