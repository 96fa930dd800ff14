//go:build linux

package dsm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instancetest"
	"golang.org/x/sys/unix"
)

// The costs of a segment beside those of the same system calls without us, in one run. Compare the lines of one size:
//
//	go test ./dsm -run '^$' -bench . -count 7

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20, 16 << 20}

func benchSession(b *testing.B, backend string) (*dsm.Session, dsm.Config) {
	b.Helper()
	cfg := instancetest.Config(b, backend, "max_segments", "4096", "max_processes", "256")
	cfg.Logger = dsm.Config{}.Logger
	instancetest.Start(b, cfg)
	return instancetest.Open(b, cfg), cfg
}

// rawDir is where the backend's files would be.
func rawDir(b *testing.B, backend string) string {
	if backend == "posix" {
		return "/dev/shm"
	}
	return b.TempDir()
}

func BenchmarkCreateDetach(b *testing.B) {
	for _, backend := range []string{"posix", "mmap"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%dKiB/raw", backend, size>>10), func(b *testing.B) { benchRawCreate(b, rawDir(b, backend), size) })
			b.Run(fmt.Sprintf("%s/%dKiB/dsm", backend, size>>10), func(b *testing.B) {
				s, _ := benchSession(b, backend)
				benchCreate(b, s, size)
			})
		}
	}
	b.Run("sysv/4KiB/raw", func(b *testing.B) {
		for b.Loop() {
			id, err := unix.SysvShmGet(0x7fedcba9, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
			if err != nil {
				b.Fatal(err)
			}
			m, err := unix.SysvShmAttach(id, 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			_ = unix.SysvShmDetach(m)
			if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sysv/4KiB/dsm", func(b *testing.B) {
		s, _ := benchSession(b, "sysv")
		benchCreate(b, s, 4096)
	})
}

func benchRawCreate(b *testing.B, dir string, size int) {
	path := filepath.Join(dir, fmt.Sprintf("dsm-bench-raw-%d", os.Getpid()))
	b.ReportAllocs()
	for b.Loop() {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
			b.Fatal(err)
		}
		p, err := unix.MmapPtr(fd, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
		if err := unix.MunmapPtr(p, uintptr(size)); err != nil {
			b.Fatal(err)
		}
		if err := unix.Unlink(path); err != nil {
			b.Fatal(err)
		}
	}
}

func benchCreate(b *testing.B, s *dsm.Session, size int) {
	b.ReportAllocs()
	for b.Loop() {
		g, err := s.Create(ctx, s.Owner(), size)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Detach(); err != nil {
			b.Fatal(err)
		}
	}
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
		path := list[0].OSName
		b.Run(fmt.Sprintf("%dKiB/raw", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				var st unix.Stat_t
				if err := unix.Fstat(fd, &st); err != nil {
					b.Fatal(err)
				}
				p, err := unix.MmapPtr(fd, 0, nil, uintptr(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					b.Fatal(err)
				}
				unix.Close(fd)
				if err := unix.MunmapPtr(p, uintptr(st.Size)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%dKiB/dsm", size>>10), func(b *testing.B) {
			other := instancetest.Open(b, cfg)
			benchAttach(b, other, g.Handle())
		})
		b.Run(fmt.Sprintf("%dKiB/dsm second", size>>10), func(b *testing.B) { benchAttach(b, s, g.Handle()) })
		_ = s.Close()
	}
}

func benchAttach(b *testing.B, s *dsm.Session, h dsm.Handle) {
	b.ReportAllocs()
	for b.Loop() {
		g, err := s.Attach(ctx, s.Owner(), h)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Detach(); err != nil {
			b.Fatal(err)
		}
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
		b.Run(fmt.Sprintf("create/%d/raw", live), func(b *testing.B) { benchRawCreate(b, "/dev/shm", 4096) })
		b.Run(fmt.Sprintf("create/%d/dsm", live), func(b *testing.B) { benchCreate(b, s, 4096) })
		b.Run(fmt.Sprintf("attach/%d/dsm", live), func(b *testing.B) { benchAttach(b, other, h) })
		_ = s.Close()
	}
}
