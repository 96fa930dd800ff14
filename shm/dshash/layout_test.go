package dshash

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestLayout compares the tables of doc/structures.md with the code.
func TestLayout(t *testing.T) {
	text, err := os.ReadFile("../../doc/structures.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, typ := range map[string]reflect.Type{
		"Table (64 bytes":      reflect.TypeFor[header](),
		"Reserve (320 bytes":   reflect.TypeFor[reserve](),
		"Partition (384 bytes": reflect.TypeFor[partition](),
		"Line (64 bytes":       reflect.TypeFor[line](),
	} {
		want := "|---:|---:|---|\n"
		for f := range typ.Fields() {
			if f.Name != "_" {
				want += fmt.Sprintf("| %d | %d | %s |\n", f.Offset, f.Type.Size(), f.Name)
			}
		}
		_, after, found := strings.Cut(string(text), "\n"+heading)
		if table, _, _ := strings.Cut(after, "\n\n-"); !found || !strings.Contains(table+"\n", want) {
			t.Errorf("%s: the document does not say\n%s", heading, want)
		}
	}
	field := func(typ reflect.Type, name string) int {
		f, _ := typ.FieldByName(name)
		return int(f.Offset)
	}
	for _, x := range [][2]int{
		{int(reflect.TypeFor[header]().Size()), headerSize},
		{int(reflect.TypeFor[partition]().Size()), partitionSize},
		{int(reflect.TypeFor[line]().Size()), lineSize},
		{field(reflect.TypeFor[header](), "self"), selfAt},
		{field(reflect.TypeFor[partition](), "lock"), lockAt},
		{int(reflect.TypeFor[shmsync.LWLockWord]().Size()), lockSize},
		{field(reflect.TypeFor[partition](), "hands"), handsAt},
		{field(reflect.TypeFor[partition](), "next"), nextAt},
		{int(reflect.TypeFor[reserve]().Size()), reserveSize},
		{field(reflect.TypeFor[reserve](), "places"), placesAt},
		{field(reflect.TypeFor[reserve](), "lock"), reserveLockAt},
	} {
		if x[0] != x[1] {
			t.Errorf("%d is %d", x[1], x[0])
		}
	}
	for p := range dsa.Pointer(4) {
		at := int(p) * 16
		if n := linesOffset(p); (at+n)%64 != 0 || n < arrayHeader || n > arraySize(0) {
			t.Errorf("lines begin %d behind %d", n, at)
		}
		if n := partitionsOffset(p); (at+n)%64 != 0 || n < headerSize || n+partitionSize > tableSize(1) {
			t.Errorf("partitions begin %d behind %d", n, at)
		}
	}
}

// TestHash: partitions, tags and home lines are spread evenly, whatever keys look like, and depend on the seed.
func TestHash(t *testing.T) {
	const n = 1 << 16
	for name, key := range map[string]func(i uint64) []byte{
		"numbers":      func(i uint64) []byte { return bytesOf(&i) },
		"multiples":    func(i uint64) []byte { i *= 1 << 20; return bytesOf(&i) },
		"high bits":    func(i uint64) []byte { i <<= 48; return bytesOf(&i) },
		"small":        func(i uint64) []byte { k := uint32(i); return bytesOf(&k) },
		"two":          func(i uint64) []byte { k := uint16(i); return bytesOf(&k) },
		"pairs":        func(i uint64) []byte { k := [2]uint64{i & 255, i >> 8}; return bytesOf(&k) },
		"text":         func(i uint64) []byte { return fmt.Appendf(nil, "user:%d", i) },
		"long text":    func(i uint64) []byte { return fmt.Appendf(nil, "%032d and so on, and %d", 0, i) },
		"long numbers": func(i uint64) []byte { k := [5]uint64{0, 0, i, 0, 0}; return bytesOf(&k) },
	} {
		for _, seed := range []uint64{0, 1, 1 << 63, 0x1234_5678_9abc_def0} {
			var parts [128]int
			var tags [256]int
			var lines [100]int
			for i := range uint64(n) {
				h := hashOf(key(i), seed)
				parts[h>>57]++
				tags[tagOf(h)]++
				lines[homeOf(h, len(lines))]++
			}
			if tags[0] != 0 {
				t.Errorf("%s: a tag is 0", name)
			}
			for what, count := range map[string][]int{"partitions": parts[:], "tags": tags[1:], "lines": lines[:]} {
				mean, chi := float64(n)/float64(len(count)), 0.0
				for _, c := range count {
					chi += (float64(c) - mean) * (float64(c) - mean) / mean
				}
				// Of a random spread it is about the number of places, with a deviation of the root of twice that.
				if free := float64(len(count) - 1); chi > 2*free {
					t.Errorf("%s, seed %#x: %s: chi square is %.0f for %.0f", name, seed, what, chi, free)
				}
			}
		}
	}
	k := uint64(7)
	if hashOf(bytesOf(&k), 1) == hashOf(bytesOf(&k), 2) {
		t.Error("the seed makes no difference")
	}
}

// TestMatch compares matching with looking at each byte.
func TestMatch(t *testing.T) {
	for _, tags := range []uint64{
		0, 1, 0x0102_0304_0506_0708, 0xff01_0101_0101_0100, 0x0001_0001_0001_0001, 0x05ff_fe80_7f01_8000, ^uint64(0),
	} {
		for tag := range uint64(256) {
			marks := matchTag(tags, tag)
			for slot := range slotsPerLine {
				is, marked := tags>>(slot*8)&0xff == tag, marks>>(slot*8+7)&1 == 1
				if is && !marked {
					t.Errorf("%#x in %#x: slot %d is not found", tag, tags, slot)
				}
			}
			if marks&^(0x80*everyByte>>8) != 0 {
				t.Errorf("%#x in %#x: %#x", tag, tags, marks)
			}
		}
	}
}
