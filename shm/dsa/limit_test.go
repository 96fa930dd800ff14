package dsa_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

func TestLimitAndFailures(t *testing.T) {
	heap := dsa.Heap{}
	o := small
	o.Limit = 2 << 20
	a := create(t, &heap, 1, o)
	fill := func(n int) (ps []dsa.Pointer, err error) {
		for {
			p, err := a.Alloc(n)
			if err != nil {
				return ps, err
			}
			ps = append(ps, p)
		}
	}
	for _, n := range []int{5000, 20_000, 150_000, 400_000} {
		ps, err := fill(n)
		if !errors.Is(err, dsa.ErrLimit) || a.Total() > 2<<20 || len(ps)*n < 1<<20 {
			t.Errorf("%d of %d bytes in %d: %v", len(ps), n, a.Total(), err)
		}
		for _, p := range ps {
			if err := a.Free(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if rep := clean(t, a); rep.Segments != 1 {
			t.Errorf("%d segments", rep.Segments)
		}
	}
	if err := a.SetLimit(ctx, 0); err != nil {
		t.Fatal(err)
	}
	_, in := heap.InUse()
	heap.Limit = in + 3<<20
	if _, err := fill(5000); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a source that is full: %v", err)
	}
	clean(t, a)

	// The table of segments is full: an error, and everything stays in order.
	b := create(t, &dsa.Heap{}, 1, dsa.Options{Initial: 100 << 10, MaxSegment: 70_000, Sessions: 1, Keep: -1})
	var ps []dsa.Pointer
	for {
		p, err := b.Alloc(60_000)
		if err != nil {
			if !errors.Is(err, dsa.ErrFull) {
				t.Error(err)
			}
			break
		}
		ps = append(ps, p)
	}
	if rep := clean(t, b); rep.Segments != 512 {
		t.Errorf("%d segments", rep.Segments)
	}
	for _, p := range ps {
		if err := b.Free(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, b); rep.Segments != 1 {
		t.Errorf("%d segments", rep.Segments)
	}
}

// TestOverhead: beside the bytes that are asked for, an area has at most 12 % for rounding,
// descriptions and what is left over.
func TestOverhead(t *testing.T) {
	a := create(t, &dsa.Heap{}, 1, dsa.Options{})
	rnd := rand.New(rand.NewPCG(4, 5))
	for name, size := range map[string]func() int{
		"even":        func() int { return 16 + rnd.IntN(8177) },
		"logarithmic": func() int { return 16<<rnd.IntN(9) + rnd.IntN(16) },
	} {
		asked := 0
		var ps []dsa.Pointer
		for asked < 40<<20 {
			n := min(size(), 8192)
			p, err := a.Alloc(n)
			if err != nil {
				t.Fatal(err)
			}
			asked += n
			ps = append(ps, p)
		}
		st, err := a.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		over := float64(st.Used+st.Overhead-int64(asked)) / float64(asked)
		t.Logf("%s: %.1f %% over %d objects, %d bytes; with what is free %.1f %%", name, 100*over, st.Objects, asked,
			100*float64(st.Total-int64(asked))/float64(asked))
		if over > 0.12 {
			t.Errorf("%s: %.1f %%", name, 100*over)
		}
		for _, p := range ps {
			if err := a.Free(p); err != nil {
				t.Fatal(err)
			}
		}
	}
}
