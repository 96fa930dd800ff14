package dsm_test

import (
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
)

// FuzzParseHandle: handles come from people and through pipes.
func FuzzParseHandle(f *testing.F) {
	f.Add(dsm.Handle(1).String())
	f.Add(dsm.Handle(1<<64 - 1).String())
	f.Add("")
	f.Add("0000000000000")
	f.Add("K000000000001")
	f.Add("0000000000\u212a")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := dsm.ParseHandle(s)
		if err != nil {
			if h != 0 || !strings.Contains(err.Error(), "is not a handle") {
				t.Errorf("%q: %v, %v", s, h, err)
			}
		} else if h == 0 || h.String() != strings.ToLower(s) || len(s) != 13 {
			t.Errorf("%q is taken for %v", s, h)
		}
		var back dsm.Handle
		if b, merr := h.MarshalText(); merr != nil || back.UnmarshalText(b) != nil || back != h {
			t.Errorf("%v comes back as %v", h, back)
		}
		if uerr := back.UnmarshalText([]byte(s)); s != "" && (uerr == nil) != (err == nil) {
			t.Errorf("%q: ParseHandle says %v, UnmarshalText %v", s, err, uerr)
		}
	})
}
