package compat_test

import (
	"os"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/locktable/compat"
	"golang.org/x/sys/unix"
)

// BenchmarkPairs measures a lock of a part and its unlock, beside a lock of the file by OFD alone.
func BenchmarkPairs(b *testing.B) {
	cfg := instancetest.Config(b, "posix")
	instancetest.Start(b, cfg)
	path := b.TempDir() + "/storage.lock"
	_, store, err := openStore(instancetest.Open(b, cfg), path, compat.Options{})
	must(b, err)
	defer store.Close()
	b.Run("part", func(b *testing.B) {
		for b.Loop() {
			h, err := store.Lock(ctx, locktable.Exclusive, "layers", "a")
			must(b, err)
			must(b, h.Unlock())
		}
	})
	f, err := os.Create(path + ".ofd")
	must(b, err)
	defer f.Close()
	b.Run("OFD", func(b *testing.B) {
		for b.Loop() {
			must(b, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
			must(b, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}))
		}
	})
}
