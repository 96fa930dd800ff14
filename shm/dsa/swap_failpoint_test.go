//go:build failpoint && linux

package dsa_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// TestSwapInside: at each point inside of each call the session ends and its bytes are swapped: the answer is
// right, or ErrClosed, and the others find the area in order.
func TestSwapInside(t *testing.T) {
	for _, use := range uses {
		t.Run(use.name, func(t *testing.T) {
			for nth, came := 0, true; came; nth++ {
				came = false
				s := newStage(t)
				n, point := 0, ""
				stop := failpoint.Watch(func(p string) {
					if n++; n == nth+1 {
						came, point = true, p
						s.closes.End()
						s.closes.Swap()
					}
				})
				err := use.call(s.area, s.ps)
				stop()
				if err != nil && !errors.Is(err, dsa.ErrClosed) {
					t.Errorf("swapped at %s, the %dth: %v", point, nth, err)
				}
				if came {
					after(t, s.area, s.ps)
				}
				if s.other.Total() == 0 {
					t.Fatal("the other is closed")
				}
				clean(t, s.other)
				if err := errors.Join(s.closes.Close(), s.other.Detach()); err != nil {
					t.Errorf("swapped at %s, the %dth: %v", point, nth, err)
				}
				if n := s.memory.Segments(); n != 0 && (use.name != "pin" || !came) {
					t.Errorf("swapped at %s, the %dth: %d segments are left", point, nth, n)
				}
			}
		})
	}
}
