package dsa

import (
	"reflect"
	"testing"
)

// TestLayouts compares the layouts with what the arithmetic and doc/structures.md say.
func TestLayouts(t *testing.T) {
	offset := func(v any, field string) uintptr {
		f, ok := reflect.TypeOf(v).FieldByName(field)
		if !ok {
			t.Fatal(field)
		}
		return f.Offset
	}
	for _, x := range []struct {
		what      string
		got, want uintptr
	}{
		{"header", reflect.TypeFor[header]().Size(), headerSize},
		{"header.id", offset(header{}, "id"), 16},
		{"header.limit", offset(header{}, "limit"), 48},
		{"header.returned", offset(header{}, "returned"), 64},
		{"header.lock", offset(header{}, "lock"), 128},
		{"header.grow", offset(header{}, "grow"), 384},
		{"header.partial", offset(header{}, "partial"), 640},
		{"row", reflect.TypeFor[row]().Size(), rowSize},
		{"row.chunks", offset(row{}, "chunks"), 16},
		{"slot.order", offset(slot{}, "order"), 8},
		{"slot.seen", offset(slot{}, "seen"), 12},
		{"slot.notes", offset(slot{}, "notes"), 16},
		{"note", reflect.TypeFor[note]().Size(), 16},
		{"slot", reflect.TypeFor[slot]().Size(), slotSize},
		{"segment", reflect.TypeFor[segment]().Size(), segmentSize},
		{"span", reflect.TypeFor[span]().Size(), spanSize},
		{"span.words", offset(span{}, "words"), 16},
		{"span.size", offset(span{}, "size"), 1040},
		{"span.back", offset(span{}, "back"), 1064},
	} {
		if x.got != x.want {
			t.Errorf("%s: %d, not %d", x.what, x.got, x.want)
		}
	}
	if len(classes) > maxClasses || offsetBits+rowBits+slackBits+lifeBits != 64 {
		t.Errorf("%d classes", len(classes))
	}
}

// TestClasses: every size has a block, which wastes at most an eighth of a small one, and
// division by multiplication is exact.
func TestClasses(t *testing.T) {
	for n := uint64(1); n <= maxClass; n++ {
		c := &classes[classOf(n)]
		if c.size < n || c.id > 0 && classes[c.id-1].size >= n {
			t.Fatalf("%d bytes in a block of %d", n, c.size)
		}
		if n > 128 && n <= maxSmall && (c.size-n)*8 > c.size {
			t.Errorf("%d bytes waste %d of %d", n, c.size-n, c.size)
		}
	}
	for i := range classes {
		c := &classes[i]
		left := uint64(c.chunks)<<chunkShift - c.size*uint64(c.objects)
		if c.size%align != 0 || left >= c.size || c.objects > 4096 || c.slack >= 1<<slackBits {
			t.Errorf("%+v, %d bytes left", c, left)
		}
		for k := range uint64(c.chunks) << chunkShift / align {
			rel := k * align
			if j, ok := c.index(rel); ok != (rel%c.size == 0 && rel/c.size < uint64(c.objects)) ||
				ok && uint64(j) != rel/c.size {
				t.Fatalf("class %d: %d is block %d, %v", c.size, rel, j, ok)
			}
		}
	}
}
