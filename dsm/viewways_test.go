package dsm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestViewFunctionsHaveManyWaysOut ends a Segment and a session whose view calls functions that go every way out: the
// others are called, each bad one is named by the call that ends the view, and nothing of the session stays.
func TestViewFunctionsHaveManyWaysOut(t *testing.T) {
	ways := map[string]struct {
		f    func()
		says string
		exit bool
	}{
		"return": {hookThatReturns, "", false},
		"panic":  {hookThatPanics, "hookThatPanics (hooks_test.go:17) panicked: no", false},
		"Goexit": {hookThatEndsGoroutine, "hookThatEndsGoroutine (hooks_test.go:19) ended its goroutine", true},
	}
	ends := map[string]func(s *dsm.Session, g *dsm.Segment) error{
		"Detach": func(_ *dsm.Session, g *dsm.Segment) error { return g.Detach() },
		"Close":  func(s *dsm.Session, _ *dsm.Segment) error { return s.Close() },
	}
	for _, checked := range []string{"off", "on"} {
		cfg := instancetest.Config(t, catalog.Default(), "checked", checked)
		instancetest.Start(t, cfg)
		other := instancetest.Open(t, cfg)
		for way, w := range ways {
			for by, end := range ends {
				for _, when := range []string{"OnEnd", "OnDrain", "below"} {
					if when == "OnDrain" && by == "Close" {
						continue // it is not called if the session swaps the bytes first, and else as by Detach
					}
					t.Run(strings.Join([]string{checked, way, by, when}, "/"), func(t *testing.T) {
						s := instancetest.Open(t, cfg)
						g := create(t, s, 1000)
						ran := 0
						v := g.Region().View()
						on := v.OnEnd
						switch when {
						case "OnDrain":
							on = func(f func()) func() { v.OnDrain(f); return nil }
						case "below":
							on = v.Sub().Sub().OnEnd
						}
						on(func() { ran++ })
						on(w.f)
						on(func() { ran++ })
						v.OnDrain(func() {})
						g.OnDetach(func() { ran++ })
						var err error
						exited, ended := true, make(chan struct{})
						go func() {
							defer close(ended)
							err = end(s, g)
							exited = false
						}()
						<-ended
						again := s.Close()
						if exited {
							err = again // no one has had it
						} else if again != nil {
							t.Error(again)
						}
						if by == "Detach" && exited {
							err = nil // it is in the log
						}
						if exited != w.exit || ran != 3 {
							t.Errorf("the goroutine ended: %v; %d other functions ran, of 3", exited, ran)
						}
						if w.says == "" && err != nil || w.says != "" && !(by == "Detach" && exited) &&
							(err == nil || !strings.Contains(err.Error(), w.says)) {
							t.Errorf("%v, want %q", err, w.says)
						}
						nothingLeft(t, other, g)
					})
				}
			}
		}
	}
}

// TestLastLeasePanics: what the last lease calls, after Detach has returned, reaches the error of Close or the log, and
// not the goroutine that leaves.
func TestLastLeasePanics(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other, s := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	g := create(t, s, 1000)
	v := g.Region().View()
	lease, err := v.Enter()
	v.OnDrain(hookThatPanics)
	if err = errors.Join(err, g.Detach()); err != nil {
		t.Fatal(err)
	}
	lease.Leave()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, other, g)
}
