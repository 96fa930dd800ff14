package dsm_test

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm"
)

// TestCheckedModeExplainsFaults: in any goroutine that turns faults into panics, shm.Fault names the lines that
// attached and detached what a late store hit.
func TestCheckedModeExplainsFaults(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		for _, by := range []string{"detach", "close"} {
			t.Run(reserved+"/"+by, func(t *testing.T) {
				cfg := instancetest.Config(t, catalog.Default(), "checked", "on", "min_dynamic_shared_memory", reserved)
				instancetest.Start(t, cfg)
				s := instancetest.Open(t, cfg)
				g, attached := created(t)(s.Create(ctx, s.Owner(), 10000)), "attached at "+line()
				r := g.Region()
				b, _ := r.Bytes(0, 10000)
				var detached string
				if by == "detach" {
					_, detached = g.Detach(), "detached at "+line()
				} else {
					_, detached = s.Close(), "detached at "+line()
				}
				late := make(chan error)
				go func() {
					defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
					defer func() { late <- shm.Fault(recover()) }()
					b[7000] = 1
				}()
				err := <-late
				if !errors.Is(err, dsm.ErrClosed) {
					t.Fatalf("a late store is %v", err)
				}
				for _, says := range []string{"byte 7000 of segment " + g.Handle().String(), attached, detached} {
					if !strings.Contains(err.Error(), says) {
						t.Errorf("%v does not say %q", err, says)
					}
				}
				if !r.View().Ended() || shm.Fault("other") != nil {
					t.Error("other panics are none of these")
				}
			})
		}
	}
}

func created(t *testing.T) func(*dsm.Segment, error) *dsm.Segment {
	return func(g *dsm.Segment, err error) *dsm.Segment {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
}
