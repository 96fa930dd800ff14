package logcache

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

// TestLayout compares the tables of doc/cache.md, and the constants, with the types.
func TestLayout(t *testing.T) {
	for _, x := range []struct {
		heading string
		typ     reflect.Type
		size    int
	}{
		{"Header (4096 bytes", reflect.TypeFor[header](), shardsAt},
		{"Shard (1088 bytes", reflect.TypeFor[shard](), shardSize},
		{"Ends of a log (24 bytes", reflect.TypeFor[logWords](), 24},
		{"Row (32 bytes", reflect.TypeFor[row](), rowSize},
		{"Load (128 bytes", reflect.TypeFor[loadRow](), loadRowSize},
		{"Line (64 bytes", reflect.TypeFor[line](), lineSize},
	} {
		if n := int(x.typ.Size()); n != x.size {
			t.Errorf("%s has %d bytes, not %d", x.typ, n, x.size)
		}
		layouttest.CheckIn(t, "cache.md", x.heading, x.typ)
	}
}

// TestShapeFits: for each size of a region, the parts follow each other inside it, and slots can name all places.
func TestShapeFits(t *testing.T) {
	sizes := []int{MinLimit, MinLimit + 8, 3<<20 + 40, 64 << 20, 1<<30 + 8}
	if reflect.TypeFor[int]().Size() == 8 {
		big := int64(MaxLimit)
		sizes = append(sizes, int(big), int(big/3))
	}
	for _, limit := range sizes {
		s, err := shapeOf(limit)
		if err != nil {
			t.Fatal(err)
		}
		at := []int{shardsAt, s.livesAt, s.rowsAt, s.linesAt, s.sketAt, s.ghostAt, s.tagsAt, s.keysAt, s.loadsAt, s.logAt, s.logAt + s.extents()*s.extent}
		for i := range len(at) - 1 {
			if at[i] >= at[i+1] || at[i]%8 != 0 {
				t.Errorf("%d bytes: part %d is from %d to %d", limit, i, at[i], at[i+1])
			}
		}
		switch {
		case at[len(at)-1] > limit:
			t.Errorf("%d bytes: the parts end at %d", limit, at[len(at)-1])
		case s.logAt%64 != 0 || s.linesAt%64 != 0:
			t.Errorf("%d bytes: lines begin at %d and %d", limit, s.linesAt, s.logAt)
		case s.extents() > maxExtentNumber || s.extent/8 > 1<<offsetBits:
			t.Errorf("%d bytes: %d extents of %d", limit, s.extents(), s.extent)
		case s.each < 40:
			t.Errorf("%d bytes: a shard has %d extents", limit, s.each)
		case float64(s.logAt) > 0.11*float64(limit):
			t.Errorf("%d bytes: the log begins at %d", limit, s.logAt)
		}
	}
	for _, limit := range []int{0, -1, MinLimit - 1} {
		if _, err := shapeOf(limit); err == nil {
			t.Errorf("%d bytes will do", limit)
		}
	}
}

// TestSlot: a word gives back what it was made of, and no entry's word is 0.
func TestSlot(t *testing.T) {
	for _, h := range []hash{0, 1, ^hash(0), 0x1234_5678_9abc_def0} {
		for second := range 2 {
			for _, e := range []uint32{1, 77, maxExtentNumber} {
				for _, life := range []uint64{0, 5, lifeMask, lifeMask + 3, 1 << 40} {
					for _, off := range []int{0, 8, maxExtent - 8} {
						w := slotOf(h, second, e, life, off)
						if w == 0 || w.tag() != h.tag() || w.second() != second || w.extent() != e || w.life() != life&lifeMask ||
							w.offset() != off {
							t.Fatalf("%x: %d, %d, %d, %d, %d", uint64(w), w.tag(), w.second(), w.extent(), w.life(), w.offset())
						}
						if x := w.at(9, 8, 16); x != slotOf(h, second, 9, 8, 16) {
							t.Fatalf("%x in another place is %x", uint64(w), uint64(x))
						}
					}
				}
			}
		}
	}
}

// TestOtherBase: each base of a pair leads to the other.
func TestOtherBase(t *testing.T) {
	for _, n := range []int{1, 16, 467, 7487} {
		for tag := uint64(0); tag <= tagMask; tag += 97 {
			for base := 0; base < n; base += 1 + n/50 {
				other := otherBase(base, tag, n)
				if other < 0 || other >= n || otherBase(other, tag, n) != base {
					t.Fatalf("%d of %d with tag %d: %d, and back %d", base, n, tag, other, otherBase(other, tag, n))
				}
			}
		}
	}
}
