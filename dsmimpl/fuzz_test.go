package dsmimpl_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// FuzzParseName: a name that is taken for ours is ours to the letter.
func FuzzParseName(f *testing.F) {
	f.Add(dsmimpl.Object{Life: uuid.New(), Generation: 1<<20 - 1, Handle: 1<<64 - 1}.Name())
	f.Add(dsmimpl.Object{Generation: 1, Handle: dsmimpl.ControlHandle}.Name())
	f.Add(strings.Repeat("z", 29))
	f.Add(strings.Repeat("0", 26) + "\u212a")
	f.Fuzz(func(t *testing.T, name string) {
		short, generation, handle, ok := dsmimpl.ParseName(name)
		if !ok {
			return
		}
		var id uuid.UUID
		binary.BigEndian.PutUint64(id[8:], short)
		o := dsmimpl.Object{Life: id, Generation: generation, Handle: handle}
		if dsmimpl.ShortID(id) != short || o.Name() != name || o.Path("/d") != "/d/"+name {
			t.Errorf("%q is taken for %q", name, o.Name())
		}
	})
}

// FuzzParseHandleText: what is taken for a handle is its text, in letters of either case.
func FuzzParseHandleText(f *testing.F) {
	f.Add(dsmimpl.HandleText(1<<64 - 1))
	f.Add("0000000000ZZZ")
	f.Add("g000000000000")    // one bit too many
	f.Add("0000000000\u212a") // 13 bytes, and a k in lower case
	f.Add("000000000000\u212a")
	f.Fuzz(func(t *testing.T, s string) {
		if h, ok := dsmimpl.ParseHandleText(s); ok && !strings.EqualFold(dsmimpl.HandleText(h), s) ||
			ok && len(s) != 13 {
			t.Errorf("%q is taken for %q", s, dsmimpl.HandleText(h))
		}
	})
}
