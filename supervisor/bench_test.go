//go:build linux

package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"golang.org/x/sys/unix"
)

// BenchmarkReclaim kills a session that holds 1,000 segments: reclaim-ms from its death until its
// references and row are back, objects/s at which the segments then go; and raw/s, the rate of
// unlink on as many files of that size, just before.
func BenchmarkReclaim(b *testing.B) {
	const n = 1000
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dx%dKiB", n, size>>10), func(b *testing.B) {
			if size*n > free("/dev/shm")/4 {
				b.Skip("skipped: the shm mount is too small")
			}
			dir := instancetest.TempDir(b)
			sup, err := supervisor.Start(ctx, dsm.Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer sup.Stop()
			books, err := look(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer books.Close()
			var reclaim, objects, raw time.Duration
			rounds := 0
			for b.Loop() {
				rounds++
				b.StopTimer()
				raw += rawUnlink(b, n, size)
				p := proctest.Start(b, "session", dir)
				p.Expect("open")
				p.Send("create %d %d", size, n)
				p.Line()
				b.StartTimer()
				reclaimed := books.Table.Reclaims()
				p.Kill()
				dead := time.Now()
				for books.Table.Reclaims() == reclaimed {
					runtime.Gosched()
				}
				back := time.Now()
				for left := n; left > 0; {
					if left, err = books.Table.Unfinished(); err != nil {
						b.Fatal(err)
					}
					time.Sleep(50 * time.Microsecond)
				}
				reclaim += back.Sub(dead)
				objects += time.Since(back)
			}
			b.ReportMetric(float64(reclaim.Microseconds())/1000/float64(rounds), "reclaim-ms")
			b.ReportMetric(float64(n*rounds)/objects.Seconds(), "objects/s")
			b.ReportMetric(float64(n*rounds)/raw.Seconds(), "raw/s")
		})
	}
}

// look maps an instance's books as an observer.
func look(dir string) (*instance.Books, error) {
	d, err := instance.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	set, err := settings.Load(dir, instance.Backends{}.Types(), nil)
	if err != nil {
		return nil, err
	}
	return d.Look(ctx, instance.Backends{}, set)
}

func free(dir string) int {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int(st.Bavail) * int(st.Bsize)
}

// rawUnlink returns how long unlink takes for n files that no process has mapped.
func rawUnlink(b *testing.B, n, size int) time.Duration {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join("/dev/shm", fmt.Sprintf("dsm-bench-raw-%d-%d", os.Getpid(), i))
		fd, err := unix.Open(paths[i], unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err == nil {
			err = unix.Fallocate(fd, 0, 0, int64(size))
			unix.Close(fd)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	begin := time.Now()
	for _, p := range paths {
		_ = unix.Unlink(p)
	}
	return time.Since(begin)
}
