package dsm_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestEventsEndsInEveryWay leaves the loop over events in each way: what comes after finds the same events.
func TestEventsEndsInEveryWay(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	instancetest.Open(t, cfg)
	out := errors.New("the loop's body failed")
	for name, way := range map[string]func() bool{
		"break": func() bool { return false }, "on": func() bool { return true },
		"panic": func() bool { panic(out) }, "goexit": func() bool { runtime.Goexit(); return false },
	} {
		for _, follow := range []bool{false, true} {
			done := make(chan any, 1)
			go func() {
				defer func() { done <- recover() }()
				seen := 0
				for e, err := range dsm.Events(context.Background(), cfg, follow) {
					if seen++; err != nil || e.Kind != []string{"began", "joined"}[seen-1] {
						t.Errorf("%s: event %d is %v, %v", name, seen, e, err)
					}
					if !way() || seen == 2 {
						break
					}
				}
			}()
			if r := <-done; (name == "panic") != (r == any(out)) {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
}
