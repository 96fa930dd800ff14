package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// TestCorruptRows: what a neighbour garbled costs at most that segment.
func TestCorruptRows(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *segmentRow)
		want error
	}{
		{"state", func(r *segmentRow) { r.word.Store(9) }, ErrCorrupt},
		{"size", func(r *segmentRow) { r.size.Store(1 << 40) }, ErrCorrupt},
		{"word", func(r *segmentRow) { r.osWord.Store(4) }, ErrCorrupt},
		{"handle", func(r *segmentRow) { r.handle.Add(1 << 20) }, ErrNotFound},
		{"agent", func(r *segmentRow) { r.word.Store(segmentWord(Destroying, 60000, 1)) }, ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, small)
			a, b := w.join(), w.join()
			e, good := w.create(a, 100), w.create(a, 100)
			c.do(&w.segments[e.row()])
			if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, c.want) {
				t.Errorf("Ref = %v, want %v", err, c.want)
			}
			if _, err := b.Ref(ctx, good.Handle); err != nil {
				t.Errorf("Ref of another segment: %v", err)
			}
			w.die(a)
			w.reclaim(b, a)
			for _, o := range w.owed(b) {
				if o.Handle != e.Handle && o.Handle != good.Handle {
					t.Errorf("an object that never was is to be destroyed: %#x", o.Handle)
				}
			}
		})
	}
}

func TestCorruptHeader(t *testing.T) {
	w := newWorld(t, small)
	for _, c := range []struct {
		name string
		at   int
		says string
	}{
		{"magic", 0, "magic"},
		{"checksum", 8, "checksum"},
		{"byte order", 20, "byte order"},
		{"instance", 24, "checksum"},
		{"processes", 64, "checksum"},
		{"segments", 68, "checksum"},
		{"dir", 200, "checksum"},
	} {
		b := append([]byte(nil), w.bytes...)
		b[c.at] ^= 0x40
		if _, err := Open(shm.NewRegion(b)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	foreign := append([]byte(nil), w.bytes...)
	binary.NativeEndian.PutUint32(foreign[16:], 0x44)
	if _, err := Open(shm.NewRegion(foreign)); !errors.Is(err, ErrCorrupt) || errors.Is(err, errkind.Version) {
		t.Errorf("a stray store into the layout version: %v", err)
	}
	sum, err := formatChecksum(shm.NewRegion(foreign))
	if err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(foreign[8:], sum)
	if _, err := Open(shm.NewRegion(foreign)); !errors.Is(err, errkind.Version) || errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "has layout version 68") ||
		!strings.Contains(err.Error(), fmt.Sprintf("which has version %d", layoutVersion)) {
		t.Errorf("another layout version: %v", err)
	}
	other := append([]byte(nil), w.bytes...)
	slices.Reverse(other[:8]) // as a processor of the other byte order would have written the magic
	if _, err := Open(shm.NewRegion(other)); !errors.Is(err, ErrCorrupt) ||
		!strings.Contains(err.Error(), "other byte order") {
		t.Errorf("the other byte order: %v", err)
	}
	for _, n := range []int{0, 7, 100, headerSize, len(w.bytes) - 1} {
		if _, err := Open(shm.NewRegion(append([]byte(nil), w.bytes[:n]...))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Open(shm.NewRegion(make([]byte, len(w.bytes)))); !errors.Is(err, ErrCorrupt) {
		t.Error("zeros are a control segment")
	}
}
