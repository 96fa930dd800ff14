package dsm_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// reserved starts an instance with a region of 16 pages, in checked mode if segments are made there in no other.
func reserved(t *testing.T, backend string, settings ...string) (dsm.Config, *dsm.Session) {
	t.Helper()
	if !swaps(t, backend) {
		settings = append([]string{"checked", "on"}, settings...)
	}
	cfg := instancetest.Config(t, backend, append(settings, "min_dynamic_shared_memory", "61kB")...)
	instancetest.Start(t, cfg)
	return cfg, instancetest.Open(t, cfg)
}

func wantReserved(t *testing.T, s *dsm.Session, g *dsm.Segment, is bool) {
	t.Helper()
	if i, ok := info(t, s, g.Handle()); !ok || i.Reserved != is || strings.Contains(i.OSName, " at byte ") != is {
		t.Errorf("listed: %+v, %v; want reserved %v", i, ok, is)
	}
}

func TestReserved(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg, s := reserved(t, backend)
		other := instancetest.Open(t, cfg)
		g := create(t, s, 5000)
		wantReserved(t, s, g, true)
		if st, err := s.Status(ctx); err != nil || st.Reserved != 64<<10 ||
			st.ReservedUsed != 8<<10 || st.Bytes != 5000 {
			t.Errorf("%+v, %v", st, err)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 0 {
			t.Errorf("%d objects besides the region", n)
		}
		copy(g.Bytes(), bytes.Repeat([]byte{0xee}, 5000))
		h := attach(t, other, g.Handle())
		if len(h.Bytes()) != 5000 || cap(h.Bytes()) != 5000 || bytes.Count(h.Bytes(), []byte{0xee}) != 5000 {
			t.Error("the other session sees other bytes")
		}
		if &h.Bytes()[0] == &g.Bytes()[0] {
			t.Error("two sessions share a mapping")
		}
		if err := errors.Join(g.Pin(ctx), g.Detach(), h.Detach()); err != nil {
			t.Fatal(err)
		}
		h = attach(t, other, g.Handle())
		if err := errors.Join(other.Unpin(ctx, g.Handle()), h.Detach()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Attach(ctx, s.Owner(), g.Handle())
		wantErr(t, "Attach of what is gone", err, dsm.ErrNotFound)

		again := create(t, other, 60<<10) // over the old one's bytes
		wantReserved(t, s, again, true)
		if bytes.Count(again.Bytes(), []byte{0}) != 60<<10 {
			t.Error("a new segment has old bytes")
		}
		wantReserved(t, s, create(t, s, 4097), false) // no room
		wantReserved(t, s, create(t, s, 65<<10), false)
		wantReserved(t, s, create(t, s, 4096), true)
		_ = again.Detach()
		wantReserved(t, s, create(t, s, 4097), true)
	})
}

// TestReservedInOrder: segments are listed in the order in which a session has made them, though no
// call reads the clock.
func TestReservedInOrder(t *testing.T) {
	_, s := reserved(t, catalog.Default())
	var made []dsm.Handle
	for range 10 {
		made = append(made, create(t, s, 1).Handle())
	}
	list, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range list {
		if x.Handle != made[i] {
			t.Fatalf("number %d is %v, want %v", i, x.Handle, made[i])
		}
	}
}

// TestReservedLease: a lease keeps its bytes over Detach and Close.
func TestReservedLease(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		if checked == "off" && !swaps(t, catalog.Default()) {
			t.Log("skipped: where nothing can be swapped no segment is made in the region, but in checked mode")
			continue
		}
		cfg, s := reserved(t, catalog.Default(), "checked", checked)
		other := instancetest.Open(t, cfg)
		g := create(t, s, 4096)
		err := g.With(func(b []byte) error {
			if err := s.Close(); err != nil {
				return err
			}
			for range 15 {
				wantReserved(t, other, create(t, other, 4096), true)
			}
			wantReserved(t, other, create(t, other, 4096), false) // while it is lent
			b[4095] = 1
			return nil
		})
		wantReserved(t, other, create(t, other, 4096), true)
		if list, err := other.Sessions(ctx); err != nil || len(list) != 1 {
			t.Errorf("checked %s: %d sessions, %v", checked, len(list), err)
		}
		_ = other.Close()
		if err != nil {
			t.Errorf("checked %s: %v", checked, err)
		}
		wantErr(t, "With after Close", g.With(func([]byte) error { return nil }), dsm.ErrClosed)
		if bytes := create(t, instancetest.Open(t, cfg), 4096).Bytes(); bytes[4095] != 0 {
			t.Errorf("checked %s: a new segment has old bytes", checked)
		}
	}
}

// TestCloseInHook: a Close that meets a Detach of a segment in the reserved region leaves it to that to end the
// session.
func TestCloseInHook(t *testing.T) {
	cfg, s := reserved(t, catalog.Default())
	other := instancetest.Open(t, cfg)
	g := create(t, s, 4096)
	g.OnDetach(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := g.Detach(); err != nil {
		t.Error(err)
	}
	if list, err := other.Sessions(ctx); err != nil || len(list) != 1 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
}

// TestReservedOwners: owners that have ended get nothing, and nothing is lost by it.
func TestReservedOwners(t *testing.T) {
	_, s := reserved(t, catalog.Default())
	owner, err := s.Owner().Child("short")
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		if _, err := s.Create(ctx, owner, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := owner.Abort(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(ctx, owner, 4096)
	wantErr(t, "Create under an owner that has ended", err, dsm.ErrClosed)
	wantReserved(t, s, create(t, s, 64<<10), true)
}

// TestReservedTruncated: Create looks at what it was given before it gives it on.
func TestReservedTruncated(t *testing.T) {
	for _, backend := range native("posix", "mmap") {
		_, s := reserved(t, backend)
		g := create(t, s, 4096)
		i, _ := info(t, s, g.Handle())
		path, _, _ := strings.Cut(i.OSName, " at byte ")
		if err := os.Truncate(path, 0); err != nil {
			t.Skipf("skipped: %s can't be truncated by its path: %v", path, err)
		}
		_, err := s.Create(ctx, s.Owner(), 4096)
		wantErr(t, "Create in a region that is gone", err, dsm.ErrCorrupt)
		if st, err := s.Status(ctx); err != nil || st.Segments != 1 {
			t.Errorf("%d segments, %v", st.Segments, err)
		}
	}
}

// TestReservedConcurrent: goroutines of two sessions make segments, and neither ever sees a byte of another's.
func TestReservedConcurrent(t *testing.T) {
	cfg, first := reserved(t, catalog.Default())
	var all sync.WaitGroup
	for g := range 6 {
		s := first
		if g%2 == 1 {
			s = instancetest.Open(t, cfg)
		}
		all.Go(func() {
			for range 1000 {
				size := 1 + rand.IntN(3*4096)
				g, err := s.Create(ctx, s.Owner(), size)
				if err != nil {
					t.Error(err)
					return
				}
				mark := byte(1 + (g.Handle()>>16)%255)
				if bytes.Count(g.Bytes(), []byte{0}) != size {
					t.Error("a new segment is not all zero")
				}
				copy(g.Bytes(), bytes.Repeat([]byte{mark}, size))
				again, err := s.Attach(ctx, s.Owner(), g.Handle())
				if err != nil {
					t.Error(err)
					return
				}
				_ = g.Detach()
				g = again
				if bytes.Count(g.Bytes(), []byte{mark}) != size {
					t.Error("somebody else has written to it")
				}
				if err := g.Detach(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestUnpinInHook: functions of OnDetach may call Unpin in a session that is closing.
func TestUnpinInHook(t *testing.T) {
	cfg, s := reserved(t, catalog.Default())
	other := instancetest.Open(t, cfg)
	for _, size := range []int{4096, 1 << 20} { // in the region, and not
		if size > 4096 {
			s = instancetest.Open(t, cfg)
		}
		g := create(t, s, size)
		if err := g.Pin(ctx); err != nil {
			t.Fatal(err)
		}
		begun, closed := make(chan bool), make(chan bool)
		g.OnDetach(func() {
			close(begun)
			<-closed
			if err := s.Unpin(ctx, g.Handle()); err != nil {
				t.Error(err)
			}
		})
		done := make(chan error)
		go func() { done <- g.Detach() }()
		<-begun
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		close(closed)
		if err := <-done; err != nil {
			t.Error(err)
		}
		list, err := other.Segments(ctx)
		sessions, serr := other.Sessions(ctx)
		if err != nil || serr != nil || len(list) != 0 || len(sessions) != 1 {
			t.Errorf("%d bytes: %d segments, %d sessions are left (%v, %v)", size, len(list), len(sessions), err, serr)
		}
	}
}
