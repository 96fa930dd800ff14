package dsa_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// closing is a source that maps nothing any more once it is set, like a session that closes.
type closing struct {
	dsa.SegmentSource
	set      bool
	unpinned int
}

func (c *closing) Unpin(ctx context.Context, handle uint64) error {
	c.unpinned++
	return c.SegmentSource.Unpin(ctx, handle)
}

func (c *closing) Attach(ctx context.Context, handle uint64) (dsa.Segment, error) {
	if c.set {
		return nil, dsa.ErrClosed
	}
	return c.SegmentSource.Attach(ctx, handle)
}

func attach(t *testing.T, source dsa.SegmentSource, c *crowd, row int, handle uint64) *dsa.Area {
	t.Helper()
	a, err := dsa.Attach(ctx, source, c.self(row), handle)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func alloc(t *testing.T, a *dsa.Area, n int) dsa.Pointer {
	t.Helper()
	p, err := a.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDetachWithoutMapping: a session that closes gives its spans back beside those in segments
// that it has not mapped and can't map now.
func TestDetachWithoutMapping(t *testing.T) {
	var heap dsa.Heap
	var c crowd
	a := create(t, &heap, 1, dsa.Options{Initial: 1, MaxSegment: 1, Sessions: 4})
	source := &closing{SegmentSource: &heap}
	b, other := attach(t, source, &c, 2, a.Handle()), attach(t, &heap, &c, 3, a.Handle())
	ps := []dsa.Pointer{alloc(t, b, 1000), alloc(t, other, 1000)}
	if err := other.Detach(); err != nil { // its span is in the list now
		t.Error(err)
	}
	source.set = true
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
	if rep := clean(t, a); rep.Objects != 2 || rep.Sessions != 1 {
		t.Errorf("%d objects, %d sessions", rep.Objects, rep.Sessions)
	}
	for _, p := range ps {
		if err := a.Free(p); err != nil {
			t.Error(err)
		}
	}
	if rep := clean(t, a); rep.Objects != 0 || len(rep.Classes) != 0 {
		t.Errorf("freed: %+v", rep.Stats)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
	if n, _ := heap.InUse(); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

// TestLastOneCloses: the last session of an area removes it, also if it closes and has not mapped
// what the dead have left; in the middle of a change, too.
func TestLastOneCloses(t *testing.T) {
	var heap dsa.Heap
	var c crowd
	source := &closing{SegmentSource: &heap}
	a := create(t, &heap, 1, dsa.Options{Initial: 1, MaxSegment: 1, Sessions: 4})
	b := attach(t, source, &c, 2, a.Handle())
	for range 3 {
		alloc(t, a, 1<<20)
	}
	alloc(t, b, 1000)
	dsa.MakeDirty(a)
	c.kill(1)
	source.set = true
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
	if p, err := b.Alloc(1000); !errors.Is(err, dsa.ErrClosed) {
		t.Errorf("Alloc in a detached area = %v, %v", p, err)
	}
	if n, _ := heap.InUse(); source.unpinned != n || n < 3 { // the dead one has them attached still, in this process
		t.Errorf("%d of %d segments have been given back", source.unpinned, n)
	}
	if _, err := dsa.Attach(ctx, &heap, c.self(3), a.Handle()); !errors.Is(err, dsa.ErrNotFound) {
		t.Errorf("Attach = %v", err)
	}
}
