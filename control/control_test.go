package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var ctx = context.Background()

func TestLife(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	e, err := a.Create(ctx, 100, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if s := w.find(e.Handle); s.State != Creating || len(s.Holders) != 1 || s.Holders[0] != a.Row() ||
		s.Size != 100 || s.Creator != "app 1" {
		t.Errorf("after Create: %+v", s)
	}
	if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref of a segment in creation = %v, want ErrNotFound", err)
	}
	if err := a.Created(ctx, e, 77); err != nil {
		t.Fatal(err)
	}
	f, err := b.Ref(ctx, e.Handle)
	if err != nil || f.Word != 77 || f.Size != 100 || f.CreatorPid != 1 {
		t.Fatalf("Ref = %+v, %v", f, err)
	}
	if last, err := a.Unref(ctx, e); last || err != nil {
		t.Fatalf("first Unref = %v, %v", last, err)
	}
	if last, err := b.Unref(ctx, f); !last || err != nil {
		t.Fatalf("last Unref = %v, %v", last, err)
	}
	if _, err := a.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref of a segment in destruction = %v, want ErrNotFound", err)
	}
	if err := a.Destroyed(ctx, e); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Destroyed by one who is not the agent = %v", err)
	}
	if err := b.Destroyed(ctx, f); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

func TestHandlesAreNotReused(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	seen := map[uint64]bool{}
	for range 100 {
		e := w.create(m, 1)
		if seen[e.Handle] || e.Handle == 0 || e.Handle>>16 == 0 {
			t.Fatalf("handle %#x", e.Handle)
		}
		seen[e.Handle] = true
		if last, _ := m.Unref(ctx, e); !last {
			t.Fatal("not last")
		}
		if err := m.Destroyed(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPin(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	e := w.create(m, 10)
	for range 2 {
		if err := m.Pin(ctx, e.Handle, false); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := m.Unref(ctx, e); last || err != nil {
		t.Fatalf("Unref of a pinned segment = %v, %v", last, err)
	}
	if _, err := m.Ref(ctx, e.Handle); err != nil {
		t.Fatal(err)
	}
	if _, last, err := m.Unpin(ctx, e.Handle); last || err != nil {
		t.Fatalf("Unpin of a held segment = %v, %v", last, err)
	}
	if _, _, err := m.Unpin(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Unpin = %v, want ErrNotFound", err)
	}
	_ = m.Pin(ctx, e.Handle, false)
	_, _ = m.Unref(ctx, e)
	f, last, err := m.Unpin(ctx, e.Handle)
	if !last || err != nil || f.Handle != e.Handle {
		t.Fatalf("Unpin of a segment that nobody holds = %+v, %v, %v", f, last, err)
	}
	if err := m.Destroyed(ctx, f); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

func TestPinWithKeeper(t *testing.T) {
	w := newWorld(t, small)
	m, keeper := w.join(), w.join()
	e := w.create(m, 10)
	if err := m.Pin(ctx, e.Handle, true); err != nil {
		t.Fatal(err)
	}
	if awaits, err := w.AwaitsKeeper(e.Handle); !awaits || err != nil {
		t.Errorf("AwaitsKeeper before it came = %v, %v", awaits, err)
	}
	if wanted, err := keeper.Kept(ctx, e.Handle); !wanted || err != nil {
		t.Errorf("Kept = %v, %v", wanted, err)
	}
	if awaits, _ := w.AwaitsKeeper(e.Handle); awaits {
		t.Error("not pinned after Kept")
	}
	_, _, _ = m.Unpin(ctx, e.Handle)
	if wanted, _ := keeper.Kept(ctx, e.Handle); wanted {
		t.Error("still wanted after Unpin")
	}
}

func TestLimits(t *testing.T) {
	l := Limits{Processes: 3, Segments: 3, SegmentsPerProcess: 2, Memory: 1000, MemoryPerProcess: 600}
	w := newWorld(t, l)
	a, b, c := w.join(), w.join(), w.join()
	full := func(m *Member, size int, want error, says string) {
		t.Helper()
		before, _, _ := w.Used()
		_, err := m.Create(ctx, size, time.Now())
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("Create = %v, want %v saying %q", err, want, says)
		}
		if after, _, _ := w.Used(); after != before {
			t.Error("the refused Create left a row")
		}
	}
	first := w.create(a, 500)
	full(a, 101, ErrQuota, "max_memory_per_process = 600")
	full(b, 501, ErrQuota, "max_memory = 1000")
	w.create(a, 100)
	full(a, 1, ErrQuota, "max_segments_per_process = 2")
	if _, err := b.Ref(ctx, first.Handle); err != nil {
		t.Fatal(err)
	}
	full(b, 101, ErrQuota, "max_memory_per_process")
	w.create(c, 1)
	full(c, 1, ErrTooManySegments, "max_segments")
	if _, err := w.Join(ctx, w.witness, w.who()); !errors.Is(err, ErrTooManyProcesses) ||
		!strings.Contains(err.Error(), "max_processes") {
		t.Errorf("Join with a full table = %v", err)
	}
	// One freed in the middle: the next create works.
	_, _ = b.Unref(ctx, first)
	if last, err := a.Unref(ctx, first); !last || err != nil {
		t.Fatal(last, err)
	}
	_ = a.Destroyed(ctx, first)
	w.create(b, 500)
}
