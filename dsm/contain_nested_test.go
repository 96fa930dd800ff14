package dsm_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestContainNested has an inner Contain give back what was taken in it, and leave to the outer one what was taken
// before, or is still held when it returns.
func TestContainNested(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x := thingsIn(s, create(t, s, sizeOfAll), true)
	free := func(l int) bool {
		g, ok, err := x.lock[l].TryLock()
		if err != nil {
			t.Fatal(err)
		}
		g.MarkConsistent()
		g.Unlock()
		return ok
	}
	err := s.Contain(func() error {
		must(x.lock[0].Lock(ctx))
		inner := s.Contain(func() error {
			must(x.lock[1].Lock(ctx))
			panic(stub{})
		})
		if !errors.Is(inner, dsm.ErrClosed) { // the outer one has it
			t.Errorf("the inner one = %v", inner)
		}
		return nil
	})
	if !errors.Is(err, dsm.ErrClosed) {
		t.Errorf("a fault in bytes that the session does not have = %v", err)
	}
	if !free(0) || !free(1) {
		t.Error("a lock is still taken")
	}
	err = s.Contain(func() error {
		must(x.lock[0].Lock(ctx))
		if err := s.Contain(func() error { must(x.lock[1].RLock(ctx)); return nil }); err != nil {
			t.Error(err)
		}
		if free(0) || free(1) {
			t.Error("a lock was given back without a fault")
		}
		panic(stub{})
	})
	if !errors.Is(err, dsm.ErrClosed) || !free(0) || !free(1) {
		t.Errorf("%v; or a lock is still taken", err)
	}
}

// stub is what the runtime panics with at a fault.
type stub struct{}

func (stub) Error() string { return "a fault" }
func (stub) Addr() uintptr { return 4096 }

// TestContainOthers lets panics that are no faults, and Goexit, go on, and f's own error through.
func TestContainOthers(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	own := errors.New("own")
	if err := s.Contain(func() error { return own }); err != own {
		t.Errorf("f's own error = %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "own" {
				t.Errorf("f's own panic = %v", r)
			}
		}()
		_ = s.Contain(func() error { panic("own") })
	}()
	done := make(chan bool)
	go func() {
		defer close(done)
		_ = s.Contain(func() error { runtime.Goexit(); return nil })
		t.Error("Goexit does not go on")
	}()
	<-done
	ran := false
	err := s.Contain(func() error {
		check(s.Close())
		return s.Contain(func() error { ran = true; return nil })
	})
	wantErr(t, "Contain after Close", err, dsm.ErrClosed)
	if ran {
		t.Error("f ran after Close")
	}
	wantErr(t, "Contain of a Session that was not opened", new(dsm.Session).Contain(nil), dsm.ErrClosed)
}

// TestContainLateSlice is ErrClosed in checked mode, where a slice that was kept past Detach faults.
func TestContainLateSlice(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "checked", "on")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 5000)
	b := g.Bytes()
	check(g.Detach())
	err := s.Contain(func() error { b[0] = 1; return nil })
	wantErr(t, "a store past Detach", err, dsm.ErrClosed)
}
