//go:build linux

package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/internal/proctest"
	"github.com/godsm/godsm/supervisor"
	"golang.org/x/sys/unix"
)

// BenchmarkReclaim kills a session that holds 1,000 segments. From the moment at which it is dead: reclaim-ms until its references and
// row are back, objects/s at which the segments then go; and raw/s, the rate of unlink on as many files of that
// size, just before.
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
				p.Kill()
				dead := time.Now()
				until := func(so func(dsm.Report) bool) time.Duration {
					for {
						r, err := dsm.Inspect(ctx, dsm.Config{Dir: dir})
						if err != nil {
							b.Fatal(err)
						}
						if so(r) {
							return time.Since(dead)
						}
					}
				}
				reclaim += until(func(r dsm.Report) bool { return len(r.Sessions) == 0 })
				objects += until(func(r dsm.Report) bool { return len(r.Segments) == 0 })
			}
			b.ReportMetric(float64(reclaim.Microseconds())/1000/float64(rounds), "reclaim-ms")
			b.ReportMetric(float64(n*rounds)/objects.Seconds(), "objects/s")
			b.ReportMetric(float64(n*rounds)/raw.Seconds(), "raw/s")
		})
	}
}

func free(dir string) int {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int(st.Bavail) * int(st.Bsize)
}

// rawUnlink is how long unlink takes for n files that nobody has mapped.
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
