package dsm_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestLateCalls: what is done to a Segment that is detached does not reach the one that has its
// place in the session now.
func TestLateCalls(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	late := create(t, s, 10)
	handle := late.Handle()
	hooked := 0
	cancel := late.OnDetach(func() { hooked++ })
	if err := late.Detach(); err != nil || hooked != 1 {
		t.Fatalf("%d hooks ran, %v", hooked, err)
	}
	g := create(t, s, 20)
	newer := false
	g.OnDetach(func() { newer = true })

	if cancel() {
		t.Error("a hook that has run was taken back")
	}
	if late.OnDetach(func() { hooked++ })(); hooked != 2 {
		t.Error("a hook of a detached Segment was not called at once")
	}
	if late.Handle() != handle || late.Size() != 10 || late.Bytes() != nil {
		t.Errorf("%v of %d bytes, %d in hand; want %v of 10, none",
			late.Handle(), late.Size(), len(late.Bytes()), handle)
	}
	wantErr(t, "With", late.With(func([]byte) error { return nil }), dsm.ErrClosed)
	wantErr(t, "Pin", late.Pin(ctx), dsm.ErrClosed)
	wantErr(t, "MoveTo", late.MoveTo(s.Owner()), dsm.ErrClosed)
	if err := late.Detach(); err != nil {
		t.Error(err)
	}
	if len(g.Bytes()) != 20 || newer {
		t.Error("the newer Segment is detached")
	}
	if err := g.Detach(); err != nil || !newer {
		t.Errorf("its own Detach: %v, hook ran: %v", err, newer)
	}
}

// TestDetachedTwice: an owner that ends, and a goroutine that detaches at the same time, end only the Segment that they
// mean, while others attach.
func TestDetachedTwice(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	shared := create(t, s, 10)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 500 {
				owner, err := s.Owner().Child("short")
				if err != nil {
					t.Error(err)
					return
				}
				g, err := s.Attach(ctx, owner, shared.Handle())
				if err != nil {
					t.Error(err)
					return
				}
				mine, err := s.Attach(ctx, s.Owner(), shared.Handle())
				if err != nil {
					t.Error(err)
					return
				}
				var ends sync.WaitGroup
				ends.Go(func() { _ = owner.Abort() })
				ends.Go(func() { _ = g.With(func(b []byte) error { return nil }) })
				err = g.Detach()
				ends.Wait()
				if g.Bytes() != nil || len(mine.Bytes()) != 10 {
					t.Error("the wrong one is detached")
				}
				if err := errors.Join(err, mine.Detach()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
