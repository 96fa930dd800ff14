package dsa_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

// crowd is the sessions of a test in one process, some of them dead.
type crowd struct {
	mu   sync.Mutex
	dead map[int]bool
}

func (c *crowd) self(row int) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(p shmsync.Peer) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.dead[p.Row]
	}}
}

func (c *crowd) kill(row int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead == nil {
		c.dead = map[int]bool{}
	}
	c.dead[row] = true
}

func create(t testing.TB, source dsa.SegmentSource, row int, o dsa.Options) *dsa.Area {
	t.Helper()
	a, err := dsa.Create(ctx, source, new(crowd).self(row), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// small is an area for little memory: its segments are small, and go back at once.
var small = dsa.Options{Initial: 200 << 10, Sessions: 8, Keep: -1}

func clean(t testing.TB, a *dsa.Area) dsa.Report {
	t.Helper()
	rep, err := a.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		t.Error(p)
	}
	if rep.Total != rep.Used+rep.Free+rep.Overhead || rep.Free < 0 || rep.Overhead < 0 {
		t.Errorf("bytes: %+v", rep.Stats)
	}
	return rep
}

func TestOneObjectOfEachSize(t *testing.T) {
	for _, checked := range []bool{false, true} {
		var heap dsa.Heap
		o := small
		o.Checked = checked
		a := create(t, &heap, 1, o)
		type object struct {
			p dsa.Pointer
			n int
		}
		var all []object
		seen := map[dsa.Pointer]bool{}
		for n := 1; n < 1_500_000; n += 1 + n/7 {
			p, err := a.Alloc(n)
			if err != nil {
				t.Fatal(n, err)
			}
			b, err := a.Bytes(p)
			if err != nil || len(b) != n || cap(b) != n || seen[p] {
				t.Fatalf("%d bytes: %d, %v", n, len(b), err)
			}
			seen[p] = true
			for i := range b {
				b[i] = byte(n)
			}
			all = append(all, object{p, n})
		}
		if rep := clean(t, a); rep.Objects != len(all) {
			t.Errorf("%d objects, not %d", rep.Objects, len(all))
		}
		if err := a.Dump(ctx, io.Discard); err != nil {
			t.Error(err)
		}
		for _, x := range all {
			b, err := a.Bytes(x.p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b {
				if b[i] != byte(x.n) {
					t.Fatalf("%d bytes: byte %d is %d", x.n, i, b[i])
				}
			}
			if err := a.Free(x.p); err != nil {
				t.Fatal(x.n, err)
			}
			if err := a.Free(x.p); !errors.Is(err, dsa.ErrPointer) {
				t.Fatalf("freed twice: %v", err)
			}
		}
		if err := a.Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if rep := clean(t, a); rep.Objects != 0 || rep.Segments != 1 || rep.Used != 0 || len(rep.Classes) != 0 {
			t.Errorf("emptied: %+v", rep)
		}
		if n, _ := heap.InUse(); n != 1 {
			t.Errorf("%d segments", n)
		}
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if n, _ := heap.InUse(); n != 0 {
			t.Errorf("%d segments after the last Detach", n)
		}
	}
}
