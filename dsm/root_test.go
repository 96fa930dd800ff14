package dsm_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestRoot: all goroutines of all sessions that ask at once get the same segment.
func TestRoot(t *testing.T) {
	ctx := context.Background()
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend, "max_segments", "123")
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		if _, err := a.Root(ctx, nil); !errors.Is(err, dsm.ErrNotFound) {
			t.Errorf("a root that nobody has made: %v", err)
		}
		var found [8]*dsm.Segment
		var wg sync.WaitGroup
		for i := range found {
			wg.Go(func() {
				s := a
				if i%2 == 1 {
					s = b
				}
				g, err := s.Root(ctx, func(segments int) int { return 10 * segments })
				if err != nil {
					t.Error(err)
				}
				found[i] = g
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for i, g := range found {
			if g != found[i%2] || g.Handle() != found[0].Handle() || g.Size() != 1230 {
				t.Errorf("%d: %v, %d bytes", i, g.Handle(), g.Size())
			}
		}
		copy(found[0].Bytes(), "hello")
		if string(found[1].Bytes()[:5]) != "hello" {
			t.Error("not the same bytes")
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 1 {
			t.Errorf("%d segments", n)
		}
		r, err := dsm.Inspect(ctx, cfg)
		if err != nil || len(r.Root) != 1230 || string(r.Root[:5]) != "hello" ||
			len(r.Segments) != 1 || !r.Segments[0].Root || r.Segments[0].Refs != 3 {
			t.Errorf("%d bytes, %+v, %v", len(r.Root), r.Segments, err)
		}
		if err := a.Unpin(ctx, found[0].Handle()); !errors.Is(err, dsm.ErrPermission) {
			t.Errorf("Unpin = %v", err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		if _, err := a.Root(ctx, nil); !errors.Is(err, dsm.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 1 {
			t.Errorf("%d segments", n)
		}
	})
}

// TestRootReserved: a root that was carved out of the reserved region is copied from there, and
// from no other place in it.
func TestRootReserved(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg, s := reserved(t, backend)
		copy(create(t, s, 4096).Bytes(), "before it")
		g, err := s.Root(ctx, func(int) int { return 5000 })
		if err != nil {
			t.Fatal(err)
		}
		wantReserved(t, s, g, true)
		copy(g.Bytes(), "hello")
		g.Bytes()[4999] = 7
		r, err := dsm.Inspect(ctx, cfg)
		if err != nil || len(r.Root) != 5000 || string(r.Root[:6]) != "hello\x00" || r.Root[4999] != 7 {
			t.Errorf("%d bytes, %v", len(r.Root), err)
		}
	})
}
