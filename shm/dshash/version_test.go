package dshash_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestOtherVersion: a table of another layout version is ErrVersion, with both versions, whatever else its header holds;
// what is no table is ErrCorrupt.
func TestOtherVersion(t *testing.T) {
	a := heap(t, dsa.Options{})
	for _, c := range []struct {
		name string
		at   int // of the header
		word uint32
		want error
		says string
	}{
		{"older", 24, 2<<8 | 1, dshash.ErrVersion, "version 2, from a program that is older than this one, which has " +
			"version 5: upgrade the program of"},
		{"newer", 24, 6<<8 | 1, dshash.ErrVersion, "version 6, from a program that is newer than this one, which has " +
			"version 5: upgrade this program, or stop"},
		{"garbled", 28, 999, dshash.ErrCorrupt, "garbled"},
		{"no table", 0, 999, dshash.ErrCorrupt, "no table begins"},
	} {
		tab, err := dshash.Create[uint64, uint64](a, dshash.Options{})
		must(t, err)
		b, err := a.Bytes(tab.Handle())
		must(t, err)
		binary.NativeEndian.PutUint32(b[c.at:], c.word)
		_, err = dshash.Attach[uint64, uint64](a, tab.Handle(), dshash.Options{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Attach = %v, want %v", c.name, err, c.want)
		}
		if _, err = dshash.VerifyAt(ctx, a, tab.Handle()); !errors.Is(err, c.want) {
			t.Errorf("%s: VerifyAt = %v, want %v", c.name, err, c.want)
		}
	}
}
