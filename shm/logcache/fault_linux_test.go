package logcache_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// TestTruncated: of a region whose object was truncated, each call that comes to a byte that is gone is ErrCorrupt,
// and none ends the process or hangs. The lock is free afterwards.
func TestTruncated(t *testing.T) {
	const limit = 2 << 20
	for _, left := range []int64{0, 4096, 8192, 40_000, 200_000, 1 << 20} {
		fd, err := unix.MemfdCreate("logcache", unix.MFD_CLOEXEC)
		must(t, err)
		f := os.NewFile(uintptr(fd), "logcache")
		must(t, f.Truncate(limit))
		b, err := unix.Mmap(fd, 0, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(t, err)
		c, err := logcache.Create(shm.NewRegion(b), self(1), logcache.Options{})
		must(t, err)
		for k := range 10_000 {
			must(t, c.Set(ctx, name(k), text(k, 1, 150), 0))
		}
		must(t, f.Truncate(left))
		failed := 0
		for round := range 2 {
			for _, use := range uses {
				if use.name == "get" || use.name == "stats" {
					continue
				}
				switch err := use.call(c, round); {
				case errors.Is(err, logcache.ErrCorrupt):
					failed++
				case err != nil:
					t.Errorf("%d bytes are left: %s: %v", left, use.name, err)
				}
			}
			for k := range 100 {
				if _, _, err := c.Get(name(k), nil); err != nil && !errors.Is(err, logcache.ErrCorrupt) {
					t.Errorf("%d bytes are left: Get: %v", left, err)
				}
			}
			_ = c.Stats()
			_, err := logcache.Attach(shm.NewRegion(b), self(2), logcache.Options{})
			if err != nil && !errors.Is(err, logcache.ErrCorrupt) && !errors.Is(err, logcache.ErrNotFound) {
				t.Errorf("%d bytes are left: Attach: %v", left, err)
			}
		}
		if failed == 0 {
			t.Errorf("%d bytes are left, and nothing fails", left)
		}
		must(t, f.Truncate(limit)) // zeros, as a neighbour may do
		if _, err := c.Verify(ctx); err != nil && !errors.Is(err, logcache.ErrCorrupt) {
			t.Errorf("%d bytes were left: Verify: %v", left, err)
		}
		c.Close()
		must(t, unix.Munmap(b))
		must(t, f.Close())
	}
}
