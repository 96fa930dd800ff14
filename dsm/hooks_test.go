package dsm_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// The ways out of a function of OnDetach. Named functions, since errors name them.
func hookThatReturns()        {}
func hookThatPanics()         { panic("no") }
func hookThatPanicsWithNil()  { panic(nil) }
func hookThatEndsGoroutine()  { runtime.Goexit() }
func hookThatFaultsOnNil()    { *(*int)(nil) = 1 }
func hookThatPanicsLate()     { defer panic("late"); hookThatReturns() }
func hookThatExitsInADefer()  { defer runtime.Goexit(); panic("lost") }
func hookThatExitsAndPanics() { defer func() { panic("after") }(); runtime.Goexit() }

// TestHooksHaveManyWaysOut ends a session, an owner, and a Segment whose hooks go every way out: what is left of the end
// is done, later hooks run, each bad one is named, and nothing of the session stays.
func TestHooksHaveManyWaysOut(t *testing.T) {
	hooks := map[string]struct {
		f    func()
		says string // beside its name and place; empty: it is no error
		exit bool   // the goroutine ends
	}{
		"return":          {hookThatReturns, "", false},
		"panic":           {hookThatPanics, "panicked: no", false},
		"panic nil":       {hookThatPanicsWithNil, "panicked: panic called with nil", false},
		"Goexit":          {hookThatEndsGoroutine, "ended its goroutine", true},
		"fault":           {hookThatFaultsOnNil, "panicked: runtime error", false},
		"late panic":      {hookThatPanicsLate, "panicked: late", false},
		"Goexit in panic": {hookThatExitsInADefer, "ended its goroutine", true},
		"panic in Goexit": {hookThatExitsAndPanics, "panicked: after", true},
	}
	ends := map[string]func(s *dsm.Session, g *dsm.Segment) error{
		"Detach": func(_ *dsm.Session, g *dsm.Segment) error { return g.Detach() },
		"Abort":  func(s *dsm.Session, _ *dsm.Segment) error { return s.Owner().Abort() },
		"Close":  func(s *dsm.Session, _ *dsm.Segment) error { return s.Close() },
	}
	cfg := instancetest.Config(t, catalog.Default(), "min_dynamic_shared_memory", "1MB")
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	for name, h := range hooks {
		for by, end := range ends {
			for _, viewed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/viewed=%v", name, by, viewed), func(t *testing.T) {
					s := instancetest.Open(t, cfg)
					older, g, newer := create(t, s, 100), create(t, s, 1<<20), create(t, s, 100)
					ran := 0
					for _, x := range []*dsm.Segment{older, g, newer} {
						if viewed {
							x.Region()
						}
						x.OnDetach(func() { ran++ })
					}
					g.OnDetach(h.f)
					g.OnDetach(func() { ran++ })
					var err error
					ended, exited := make(chan struct{}), true
					go func() {
						defer close(ended)
						err = end(s, g)
						exited = false
					}()
					<-ended
					if exited != h.exit {
						t.Errorf("the goroutine ended: %v", exited)
					}
					again := s.Close()
					if exited && by == "Close" {
						err = again // no call has returned it
					} else if again != nil {
						t.Error(again)
					}
					if ran != 4 {
						t.Errorf("%d of 4 other hooks ran", ran)
					}
					if exited && by != "Close" {
						err = nil // it is in the log
					} else if (err != nil) != (h.says != "") {
						t.Errorf("error %v", err)
					}
					if err != nil && !(strings.Contains(err.Error(), "dsm_test.hookThat") &&
						strings.Contains(err.Error(), "(hooks_test.go:") && strings.Contains(err.Error(), h.says)) {
						t.Errorf("%v, want %q", err, h.says)
					}
					nothingLeft(t, other, older, g, newer)
				})
			}
		}
	}
}

// nothingLeft checks that other is the only session and none of the segments is there.
func nothingLeft(t *testing.T, other *dsm.Session, gone ...*dsm.Segment) {
	t.Helper()
	if list, err := other.Sessions(ctx); err != nil || len(list) != 1 {
		t.Errorf("%d sessions are left, %v", len(list), err)
	}
	for _, g := range gone {
		if _, err := other.Attach(ctx, other.Owner(), g.Handle()); !errors.Is(err, dsm.ErrNotFound) {
			t.Errorf("%s is left: %v", g.Handle(), err)
		}
	}
}

// TestManyHooksThatExit: each of them is called, though each ends the goroutine.
func TestManyHooksThatExit(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	ran := 0
	var all []*dsm.Segment
	for range 5 {
		g := create(t, s, 100)
		for range 4 {
			g.OnDetach(func() { ran++; runtime.Goexit() })
		}
		all = append(all, g)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Close() }()
	<-ended
	if err := s.Close(); ran != 20 || strings.Count(fmt.Sprint(err), "ended its goroutine") != 20 {
		t.Errorf("%d of 20 hooks ran: %v", ran, err)
	}
	nothingLeft(t, other, all...)
}

// TestCloseInsideItsOwnHook: Close from inside a function that Close has called is an error at once, and one from a
// goroutine that such a function waits for is an error after a while. Both name the function, and the session ends.
func TestCloseInsideItsOwnHook(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	for _, wait := range []bool{false, true} {
		for _, slipped := range []bool{false, true} {
			s := instancetest.Open(t, cfg)
			g := create(t, s, 100)
			if slipped {
				if err := g.MoveTo(other.Owner()); err != nil { // the session knows nothing of it
					t.Fatal(err)
				}
			}
			var inner, abort error
			g.OnDetach(func() {
				if !wait {
					inner, abort = s.Close(), s.Owner().Abort()
					return
				}
				done := make(chan error)
				go func() { done <- s.Close() }()
				inner = <-done
			})
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			wantErr(t, "Close inside Close", inner, dsm.ErrDeadlock)
			if !strings.Contains(fmt.Sprint(inner), "TestCloseInsideItsOwnHook.func1 (hooks_test.go:") {
				t.Errorf("%v does not name the function", inner)
			}
			if !wait && !slipped {
				if !errors.Is(abort, dsm.ErrDeadlock) {
					t.Errorf("Abort inside Close = %v", abort)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			nothingLeft(t, other, g)
		}
	}
}

// TestCloseInsideAnOwnersRelease changes nothing; the session can be closed afterwards.
func TestCloseInsideAnOwnersRelease(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	owner, err := s.Owner().Child("short")
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Create(ctx, owner, 100)
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	g.OnDetach(func() { inner = s.Close() })
	if err := owner.Abort(); err != nil {
		t.Error(err)
	}
	wantErr(t, "Close inside a release", inner, dsm.ErrDeadlock)
	if s.Err() != nil {
		t.Error(s.Err())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, other, g)
}

// TestWithHasManyWaysOut over Close: whatever f does, the session ends with it.
func TestWithHasManyWaysOut(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		cfg := instancetest.Config(t, catalog.Default(), "min_dynamic_shared_memory", reserved)
		instancetest.Start(t, cfg)
		other := instancetest.Open(t, cfg)
		for name, out := range map[string]func(){
			"return": hookThatReturns, "panic": hookThatPanics, "Goexit": hookThatEndsGoroutine,
			"Goexit in panic": hookThatExitsInADefer, "fault": hookThatFaultsOnNil,
		} {
			t.Run(name+"/"+reserved, func(t *testing.T) {
				s := instancetest.Open(t, cfg)
				g, free := create(t, s, 100), create(t, s, 100)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					defer func() { _ = recover() }()
					_ = g.With(func(b []byte) error {
						if err := s.Close(); err != nil {
							t.Error(err)
						}
						out()
						return nil
					})
				}()
				<-ended
				nothingLeft(t, other, g, free)
			})
		}
	}
}
