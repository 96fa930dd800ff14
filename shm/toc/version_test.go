package toc_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/toc"
)

// TestOtherVersion: a table of another layout version is ErrVersion, with both versions; contents of another magic are
// ErrMagic, whatever their version.
func TestOtherVersion(t *testing.T) {
	for _, c := range []struct {
		version uint16
		says    string
	}{
		{0, "layout version 0, from a program that is older than this one, which has version 1: upgrade the program of"},
		{9, "layout version 9, from a program that is newer than this one, which has version 1: upgrade this program, or stop"},
	} {
		r, table := create(t, 4096)
		b, err := r.Bytes(0, 24)
		if err != nil {
			t.Fatal(err)
		}
		binary.NativeEndian.PutUint64(b[8:], 4096|uint64(c.version)<<48)
		if _, err := toc.Attach(r, magic); !errors.Is(err, toc.ErrVersion) || errors.Is(err, toc.ErrCorrupt) ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("Attach of version %d = %v", c.version, err)
		}
		if _, err := toc.Attach(r, magic+1); !errors.Is(err, toc.ErrMagic) || errors.Is(err, toc.ErrVersion) {
			t.Errorf("Attach of other contents of version %d = %v", c.version, err)
		}
		if _, err := table.Allocate(1); !errors.Is(err, toc.ErrCorrupt) {
			t.Errorf("Allocate after a stray store = %v", err)
		}
	}
}
