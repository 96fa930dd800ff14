//go:build unix

package dsm_test

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instancetest"
)

// TestTruncated: what somebody else's truncation takes away is an error, not the end of the process.
func TestTruncated(t *testing.T) {
	for _, backend := range []string{"posix", "mmap"} {
		t.Run(backend, func(t *testing.T) {
			cfg := instancetest.Config(t, backend)
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			page := os.Getpagesize()
			g := create(t, s, 4*page)
			i, _ := info(t, s, g.Handle())
			if err := os.Truncate(i.OSName, int64(page)); err != nil {
				t.Skipf("skipped: %s can't be truncated by its path: %v", i.OSName, err)
			}
			err := g.With(func(b []byte) error { b[2*page] = 1; return nil })
			wantErr(t, "With on what is gone", err, dsm.ErrCorrupt)
			if err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%v does not say why", err)
			}
			_, err = g.ReadAt(make([]byte, 1), int64(3*page))
			wantErr(t, "ReadAt of what is gone", err, dsm.ErrCorrupt)
			n, err := g.WriteAt([]byte("x"), int64(3*page))
			wantErr(t, "WriteAt on what is gone", err, dsm.ErrCorrupt)
			if n != 0 {
				t.Errorf("WriteAt wrote %d bytes", n)
			}
			if _, err := g.WriteAt([]byte("x"), 0); err != nil {
				t.Errorf("WriteAt on what is left: %v", err)
			}
		})
	}
}

var sink byte

func TestCheckedModeCatchesStaleSlices(t *testing.T) {
	for _, backend := range []string{"posix", "sysv", "mmap"} {
		t.Run(backend, func(t *testing.T) {
			cfg := instancetest.Config(t, backend, "checked", "on")
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			g := create(t, s, 5000)
			again := attach(t, s, g.Handle())
			if &again.Bytes()[0] == &g.Bytes()[0] {
				t.Fatal("in checked mode each Attach has its own mapping")
			}
			kept := g.Bytes()
			_ = g.Detach()
			for range 20 {
				create(t, s, 5000) // would be mapped where g was
			}
			func() {
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
				defer func() {
					if recover() == nil {
						t.Error("a slice kept past Detach could be read")
					}
				}()
				sink = kept[0]
			}()
			again.Bytes()[4999] = 1
		})
	}
}
