package dsa_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// refusing is a source that attaches nothing once it is told so, as that of a session that is closing.
type refusing struct {
	*dsa.Heap
	refuse bool
}

var errRefused = errors.New("refused")

func (r *refusing) Attach(ctx context.Context, handle uint64) (dsa.Segment, error) {
	if r.refuse {
		return nil, errRefused
	}
	return r.Heap.Attach(ctx, handle)
}

// TestRefused: a session that can't map a neighbour of its span in the list leaves the list as it was, and its span to
// who recovers it.
func TestRefused(t *testing.T) {
	const size = 1000
	var heap dsa.Heap
	var all crowd
	source := &refusing{Heap: &heap}
	a, err := dsa.Create(ctx, &heap, all.self(1), small)
	must(t, err)
	b, err := dsa.Attach(ctx, source, all.self(2), a.Handle())
	must(t, err)
	kept, err := b.Alloc(size)
	must(t, err)

	first := func(p dsa.Pointer) bool { return p.String()[0] == '0' } // of the area's first segment
	var list []dsa.Pointer
	for len(list) == 0 || first(list[len(list)-1]) {
		p, err := a.Alloc(size)
		must(t, err)
		list = append(list, p)
	}
	last := list[len(list)-1]
	for _, p := range list[:len(list)-1] {
		must(t, a.Free(p))
	}
	must(t, a.Detach()) // its span with the last object is in the list now
	source.refuse = true
	if err := b.Detach(); !errors.Is(err, errRefused) {
		t.Errorf("Detach = %v", err)
	}
	all.kill(2)

	c, err := dsa.Attach(ctx, &heap, all.self(3), a.Handle())
	must(t, err)
	if rep := clean(t, c); rep.Objects != 2 {
		t.Errorf("%d objects, not 2", rep.Objects)
	}
	must(t, c.Free(kept))
	must(t, c.Free(last))
	if rep := clean(t, c); rep.Objects != 0 {
		t.Errorf("%d objects, not 0", rep.Objects)
	}
	must(t, c.Detach())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
