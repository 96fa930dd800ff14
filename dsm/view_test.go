package dsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/resowner"
)

// atEnd are the backends here whose bytes are of use after the end: private ones, or those of the object as long as
// there is room.
func atEnd() []string { return native(lasting...) }

// swaps reports whether a backend can put private pages in a mapping's place here.
func swaps(t *testing.T, backend string) bool {
	b, err := catalog.New(backend, "")
	if err != nil {
		t.Fatal(err)
	}
	_, is := b.(dsmimpl.Swapper)
	return is
}

// TestLateStoresReachNobody ends segments under goroutines that never stop storing into them, by Detach and by
// Close, and fills fresh segments of the same size, which would be mapped in their place, with a pattern: it must stay.
func TestLateStoresReachNobody(t *testing.T) {
	for _, backend := range atEnd() {
		for _, reserved := range []string{"0", "1MB"} {
			for _, by := range []string{"detach", "owner", "close"} {
				t.Run(fmt.Sprintf("%s/%s/%s", backend, reserved, by), func(t *testing.T) {
					cfg := instancetest.Config(t, backend, "min_dynamic_shared_memory", reserved, "max_segments", "200")
					instancetest.Start(t, cfg)
					other := instancetest.Open(t, cfg)
					rounds := 3
					if testing.Short() {
						rounds = 1
					}
					for range rounds {
						s := instancetest.Open(t, cfg)
						endUnderStores(t, s, other, by)
					}
				})
			}
		}
	}
}

func endUnderStores(t *testing.T, s, other *dsm.Session, by string) {
	const size, n = 12000, 6
	owner, err := s.Owner().Child("short")
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var hammers sync.WaitGroup
	defer hammers.Wait()
	defer stop.Store(true)
	hammer := func(b []byte) {
		hammers.Go(func() {
			for !stop.Load() {
				for i := 0; i < len(b); i += 8 {
					b[i] = 0xee
				}
			}
		})
	}
	var ends []*dsm.Segment
	for i := range n {
		g, err := s.Create(ctx, owner, size)
		if err != nil {
			t.Fatal(err)
		}
		b := g.Bytes()
		if by != "close" || i%2 == 0 {
			r, err := g.Region().Bytes(0, size)
			if err != nil {
				t.Fatal(err)
			}
			b = r
		}
		hammer(b)
		ends = append(ends, g)
	}
	switch by {
	case "detach":
		for _, g := range ends {
			err = g.Detach()
		}
	case "owner":
		err = owner.Abort()
	case "close":
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	fill := bytes.Repeat([]byte{0x55}, size)
	var fresh []*dsm.Segment
	for range 64 {
		g := create(t, other, size)
		copy(g.Bytes(), fill)
		fresh = append(fresh, g)
	}
	for range 20 {
		for _, g := range fresh {
			if !bytes.Equal(g.Bytes(), fill) {
				t.Fatal("a late store has reached another segment")
			}
		}
	}
	for _, g := range fresh {
		if err := g.Detach(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRegionEndsAlone: Segments of one handle that have a Region share the bytes and not the end.
func TestRegionEndsAlone(t *testing.T) {
	for _, backend := range atEnd() {
		for _, reserved := range []string{"0", "1MB"} {
			t.Run(backend+"/"+reserved, func(t *testing.T) {
				cfg := instancetest.Config(t, backend, "min_dynamic_shared_memory", reserved)
				instancetest.Start(t, cfg)
				s := instancetest.Open(t, cfg)
				first := create(t, s, 5000)
				plain := attach(t, s, first.Handle())
				second := attach(t, s, first.Handle())
				r := second.Region()
				if again := second.Region(); again.View() != r.View() || r.View() == first.Region().View() || r.Len() != 5000 {
					t.Fatal("a Segment has one view, and no other Segment's")
				}
				late := attach(t, s, first.Handle()) // the mapping may be another Segment's own
				b, _ := r.Bytes(0, 5000)
				b[4999] = 7
				for _, g := range []*dsm.Segment{first, plain, late} {
					if g.Bytes()[4999] != 7 {
						t.Error("Segments of one handle have other bytes")
					}
				}
				if err := second.Detach(); err != nil {
					t.Fatal(err)
				}
				if !r.View().Ended() || first.Region().View().Ended() || second.Bytes() != nil {
					t.Error("the wrong view has ended")
				}
				if after := second.Region(); after.Len() != 0 || !after.View().Ended() {
					t.Error("a detached Segment has a Region")
				}
				if !swaps(t, backend) {
					t.Log("skipped: nothing can be swapped here, so late stores reach the segment that they are meant for")
				} else if b[4999] = 8; b[0] != 0 || first.Bytes()[4999] != 7 || plain.Bytes()[4999] != 7 {
					t.Error("a late store has reached the segment")
				}
				if plain.Region().View().Ended() || s.Self().View.Ended() {
					t.Error("the session has ended")
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if !s.Self().View.Ended() || first.Region().Len() != 0 || !first.Region().View().Ended() {
					t.Error("a view outlives its session")
				}
			})
		}
	}
}

// TestRegionLeases: leases of a view keep the bytes over Detach until the last one goes, and not over Close.
func TestRegionLeases(t *testing.T) {
	private := swaps(t, atEnd()[0])
	for _, reserved := range []string{"0", "1MB"} {
		for _, end := range []string{"detach", "close"} {
			t.Run(reserved+"/"+end, func(t *testing.T) {
				cfg := instancetest.Config(t, "", "min_dynamic_shared_memory", reserved)
				cfg.Settings["dynamic_shared_memory_type"] = atEnd()[0]
				instancetest.Start(t, cfg)
				other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
				g := create(t, s, 4096)
				seen := attach(t, other, g.Handle())
				r := g.Region()
				b, _ := r.Bytes(0, 4096)
				entered, err := r.View().Enter()
				if err != nil {
					t.Fatal(err)
				}
				var held interface{ Leave() }
				g.OnDetach(func() {
					l, ok := r.View().Hold()
					if !ok || !r.View().Ended() {
						t.Error("a function of OnDetach could not hold the bytes")
					}
					held = l
				})
				refs := func() int { i, _ := info(t, other, g.Handle()); return i.Refs }
				if end == "close" {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					b[0] = 1
					if private && seen.Bytes()[0] != 0 || refs() != 1 {
						t.Error("a lease of a view has kept the bytes over Close")
					}
					entered.Leave()
					held.Leave()
					return
				}
				if err := g.Detach(); err != nil {
					t.Fatal(err)
				}
				b[0] = 1
				if seen.Bytes()[0] != 1 || refs() != 2 {
					t.Error("the bytes went before the leases")
				}
				entered.Leave()
				b[0] = 2
				held.Leave()
				if b[0] = 3; private && seen.Bytes()[0] != 2 || refs() != 1 {
					t.Error("the last lease has not ended the bytes")
				}
			})
		}
	}
}

// TestLateCallsAfterClose: each answers ErrClosed, or what its doc says, and nothing faults.
func TestLateCallsAfterClose(t *testing.T) {
	for _, backend := range atEnd() {
		for _, reserved := range []string{"0", "1MB"} {
			cfg := instancetest.Config(t, backend, "min_dynamic_shared_memory", reserved)
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			g := create(t, s, 4096)
			kept := g.Bytes()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			kept[0] = 1
			_, rerr := g.ReadAt(make([]byte, 1), 0)
			_, werr := g.WriteAt(make([]byte, 1), 0)
			mine := resowner.New("mine", cfg.Logger)
			for what, err := range map[string]error{
				"With": g.With(func([]byte) error { return nil }), "ReadAt": rerr, "WriteAt": werr, "Pin": g.Pin(ctx),
				"Unpin": g.Unpin(ctx), "MoveTo": g.MoveTo(mine),
			} {
				wantErr(t, what, err, dsm.ErrClosed)
			}
			called := false
			if cancel := g.OnDetach(func() { called = true }); cancel() || !called {
				t.Error("OnDetach did not call at once")
			}
			if err := g.Detach(); err != nil || g.Bytes() != nil || g.Size() != 4096 {
				t.Error(err, g.Bytes(), g.Size())
			}
			if err := mine.Abort(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestZeroSegmentAndSession(t *testing.T) {
	var g dsm.Segment
	var s dsm.Session
	var none *dsm.Session
	_, create := s.Create(ctx, resowner.New("mine", dsm.Config{}.Logger), 10)
	_, attach := s.Attach(ctx, resowner.New("mine", dsm.Config{}.Logger), 10)
	_, list := s.Segments(ctx)
	_, root := s.Root(ctx, nil)
	for what, err := range map[string]error{
		"With": g.With(func([]byte) error { return nil }), "Pin": g.Pin(ctx), "Unpin": g.Unpin(ctx),
		"Close": s.Close(), "Close of nil": none.Close(), "Create": create, "Attach": attach, "Segments": list, "Root": root,
		"Session.Unpin": s.Unpin(ctx, 10), "MoveTo": g.MoveTo(resowner.New("mine", dsm.Config{}.Logger)),
	} {
		wantErr(t, what, err, dsm.ErrClosed)
	}
	called := false
	g.OnDetach(func() { called = true })
	if err := g.Detach(); err != nil || g.Bytes() != nil || !called || !g.Region().View().Ended() {
		t.Error(err, g.Bytes(), called)
	}
}

// TestNattch: the kernel counts an attachment as gone that was swapped, in whole or in part.
func TestNattch(t *testing.T) {
	if len(native("sysv")) == 0 || nattch == nil {
		t.Skip("skipped: no System V shared memory whose attachments can be counted here")
	}
	cfg := instancetest.Config(t, "sysv", "min_dynamic_shared_memory", "1MB")
	instancetest.Start(t, cfg)
	before := nattch(t)
	s := instancetest.Open(t, cfg)
	small, plain, lent := create(t, s, 4096), create(t, s, 8192), create(t, s, 4096)
	large := create(t, s, 2<<20)
	small.Region()
	large.Region()
	kept := [][]byte{small.Bytes(), plain.Bytes(), large.Bytes()}
	err := lent.With(func(b []byte) error {
		err := s.Close()
		b[4095] = 1
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range kept {
		b[0] = 1
	}
	if after := nattch(t); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("attachments after Close:\n%v\nbefore:\n%v", after, before)
	}
}

// nattch lists how often this process's System V objects are attached; nil where that can't be told.
var nattch func(t *testing.T) []string

// TestCloseBesideDetach: Close and Detaches in other goroutines share the segments out; when Close returns nothing is
// left.
func TestCloseBesideDetach(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		cfg := instancetest.Config(t, atEnd()[0], "min_dynamic_shared_memory", reserved)
		instancetest.Start(t, cfg)
		other := instancetest.Open(t, cfg)
		for range 100 {
			s := instancetest.Open(t, cfg)
			var all []*dsm.Segment
			for i := range 24 {
				g := create(t, s, 100)
				if i%3 == 0 {
					g.Region()
				}
				if i%5 == 0 {
					g = attach(t, s, g.Handle())
				}
				all = append(all, g)
			}
			var wg sync.WaitGroup
			for k := range 3 {
				wg.Go(func() {
					for i, g := range all {
						var err error
						if (i+k)%4 == 0 {
							err = g.With(func([]byte) error { return g.Detach() })
						} else {
							err = g.Detach()
						}
						if err != nil && !errors.Is(err, dsm.ErrClosed) {
							t.Error(err)
						}
					}
				})
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			wg.Wait() // a With may have outlived Close
			nothingLeft(t, other, all...)
		}
	}
}
