package shm_test

import (
	"errors"
	"fmt"
	"strings"
	"structs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
)

type point struct {
	_     structs.HostLayout
	X, Y  int32
	Seen  atomic.Uint64
	Names [2][8]byte
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string // in the error; empty for none
	}{
		{"point", shm.Check[point](), ""},
		{"array", shm.Check[[4]float64](), ""},
		{"bool", shm.Check[atomic.Bool](), ""},
		{"offset", shm.Check[shm.Offset](), ""},
		{"int", shm.Check[struct{ N int }](),
			".N is a int and can't lie in shared memory, since its size differs between processes: use int32 or int64"},
		{"uint", shm.Check[uint](), "use uint32 or uint64"},
		{"uintptr", shm.Check[struct{ P uintptr }](), ".P"},
		{"atomic.Uintptr", shm.Check[atomic.Uintptr](), "shm.Offset"},
		{"pointer", shm.Check[*int32](), "shm.Offset"},
		{"atomic.Pointer", shm.Check[atomic.Pointer[int32]](), "shm.Offset"},
		{"string", shm.Check[struct{ A struct{ Name string } }](), ".A.Name is a string"},
		{"slice in array", shm.Check[struct{ Rows [3][]byte }](), ".Rows[] is a []uint8"},
		{"map", shm.Check[map[int32]int32](), "fixed-size values"},
		{"interface", shm.Check[struct{ E error }](), ".E"},
		{"any atomic", shm.Check[atomic.Value](), "fixed-size values"},
		{"func", shm.Check[func()](), "fixed-size values"},
		{"channel", shm.Check[chan int32](), "fixed-size values"},
		{"mutex", shm.Check[struct{ Mu sync.Mutex }](),
			".Mu is a sync.Mutex and can't lie in shared memory, since it works inside one process only: " +
				"use a lock of shm/shmsync"},
		{"rwmutex", shm.Check[sync.RWMutex](), "shm/shmsync"},
		{"time", shm.Check[struct{ At time.Time }](), ".At.loc"},
	} {
		switch {
		case c.want == "" && c.err != nil:
			t.Errorf("%s: %v", c.name, c.err)
		case c.want != "" && (c.err == nil || !strings.Contains(c.err.Error(), c.want)):
			t.Errorf("%s: error %v, want it to say %q", c.name, c.err, c.want)
		}
	}
}

// onHeap is n bytes that are aligned as mapped ones are; a slice on the stack need not be.
func onHeap(n int) []byte {
	escaped = make([]byte, n)
	return escaped
}

var escaped []byte

func TestBounds(t *testing.T) {
	r := shm.NewRegion(onHeap(64))
	ok := func(err error) string { return fmt.Sprint(err == nil, errors.Is(err, shm.ErrCorrupt)) }
	at := func(off shm.Offset) error { _, err := shm.At[atomic.Uint64](r, off); return err }
	slice := func(off shm.Offset, n int) error { _, err := shm.SliceOf[atomic.Uint64](r, off, n); return err }
	for _, c := range []struct {
		name string
		err  error
		good bool
	}{
		{"first", at(0), true},
		{"last", at(56), true},
		{"past the end", at(57), false},
		{"at the end", at(64), false},
		{"wraps around", at(^shm.Offset(0) - 3), false},
		{"not aligned", at(4), false},
		{"all", slice(0, 8), true},
		{"none at the end", slice(64, 0), true},
		{"one too many", slice(8, 8), false},
		{"negative", slice(0, -1), false},
		{"overflow", slice(0, 1<<31-1), false},
	} {
		if want := fmt.Sprint(c.good, !c.good); ok(c.err) != want {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if _, err := r.Bytes(60, 5); !errors.Is(err, shm.ErrCorrupt) {
		t.Errorf("Bytes past the end = %v", err)
	}
	sub, err := r.Sub(32, 16)
	if err != nil || sub.Len() != 16 {
		t.Fatal(err)
	}
	if _, err := sub.Bytes(8, 9); !errors.Is(err, shm.ErrCorrupt) {
		t.Errorf("a sub-region reaches past its end: %v", err)
	}
}

func TestWindowsShareBytes(t *testing.T) {
	b := onHeap(128)
	r := shm.NewRegion(b)
	p, err := shm.At[point](r, 8)
	if err != nil {
		t.Fatal(err)
	}
	p.X, p.Names[1][0] = 7, 'n'
	again, _ := shm.At[point](r, 8)
	if again.X != 7 || b[8] != 7 && b[11] != 7 || b[8+24] != 'n' {
		t.Error("two windows and the bytes do not show the same")
	}
}

func BenchmarkAt(b *testing.B) {
	r := shm.NewRegion(make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shm.At[uint64](r, 8); err != nil {
			b.Fatal(err)
		}
	}
}
