package dsa_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// TestOtherVersion: an area of another layout version is ErrVersion, with both versions, whatever else its header holds;
// what is no area is ErrCorrupt.
func TestOtherVersion(t *testing.T) {
	for _, c := range []struct {
		name    string
		at      int // of the header
		value   uint32
		want    error
		says    string
		without error
	}{
		{"older", 8, 3, dsa.ErrVersion, "version 3, from a program that is older than this one, which has version 4: " +
			"upgrade the program of", dsa.ErrCorrupt},
		{"newer", 8, 5, dsa.ErrVersion, "version 5, from a program that is newer than this one, which has version 4: " +
			"upgrade this program, or stop", dsa.ErrCorrupt},
		{"no area", 0, 7, dsa.ErrCorrupt, "no area begins here", dsa.ErrVersion},
		{"no sessions", 24, 0, dsa.ErrCorrupt, "room for 0 sessions", dsa.ErrVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := dsa.Aligned(96 << 10)
			r := shm.NewRegion(b)
			if _, err := dsa.CreateInPlace(r, nil, new(crowd).self(1), dsa.Options{Sessions: 4}); err != nil {
				t.Fatal(err)
			}
			binary.NativeEndian.PutUint32(b[c.at:], c.value)
			_, err := dsa.AttachInPlace(ctx, r, nil, new(crowd).self(2))
			if !errors.Is(err, c.want) || errors.Is(err, c.without) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("AttachInPlace = %v, want %v", err, c.want)
			}
		})
	}
}
