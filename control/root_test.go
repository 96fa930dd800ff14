package control

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/errkind"
)

func TestRoot(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	root := func(m *Member, candidate uint64) uint64 {
		t.Helper()
		h, err := m.Root(ctx, candidate, false)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := root(a, 0); h != 0 {
		t.Errorf("a root of nothing: %x", h)
	}
	if _, err := a.Root(ctx, 12345<<16, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("a candidate that is not there: %v", err)
	}
	first, second := w.create(a, 1), w.create(b, 1)
	if h := root(a, first.Handle); h != first.Handle {
		t.Errorf("%x", h)
	}
	if h := root(b, second.Handle); h != first.Handle {
		t.Errorf("the second is the root: %x", h)
	}
	if last, err := b.Unref(ctx, second); !last || err != nil {
		t.Errorf("the one that was refused stays: %v", err)
	}
	if _, _, err := b.Unpin(ctx, first.Handle); !errors.Is(err, errkind.Permission) {
		t.Errorf("Unpin = %v", err)
	}
	if err := a.Pin(ctx, first.Handle, false); err != nil {
		t.Error(err)
	}
	w.die(a)
	w.reclaim(b, a)
	if h := root(b, 0); h != first.Handle {
		t.Errorf("%x after its maker's death", h)
	}
	list, err := w.Segments()
	if err != nil || len(list) != 2 || !list[0].Root || !list[0].Pinned || list[1].Root {
		t.Errorf("%+v, %v", list, err)
	}

	// What a stray store can make of the word.
	pin := &w.segments[first.row()].pin
	for _, garbage := range []uint32{root4(0), root4(3), 8, 1 << 31} {
		pin.Store(garbage)
		if h := root(b, 0); h != 0 {
			t.Errorf("a pin of %#x makes a root", garbage)
		}
	}
	pin.Store(root4(pinned))
	w.segments[first.row()].size.Add(1)
	if _, err := b.Root(ctx, 0, false); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a garbled row: %v", err)
	}
}

func root4(pin uint32) uint32 { return root | pin }

// TestRootKept: where a process must keep the object open, the root is one from the start.
func TestRootKept(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	e := w.create(m, 1)
	if h, err := m.Root(ctx, e.Handle, true); h != e.Handle || err != nil {
		t.Fatal(h, err)
	}
	if awaits, err := w.AwaitsKeeper(e.Handle); !awaits || err != nil {
		t.Error(awaits, err)
	}
	if last, err := m.Unref(ctx, e); last || err != nil {
		t.Error(last, err)
	}
	if wanted, err := m.Kept(ctx, e.Handle); !wanted || err != nil {
		t.Error(wanted, err)
	}
	if awaits, err := w.AwaitsKeeper(e.Handle); awaits || err != nil {
		t.Error(awaits, err)
	}
	if h, err := m.Root(ctx, 0, true); h != e.Handle || err != nil {
		t.Error(h, err)
	}
}
