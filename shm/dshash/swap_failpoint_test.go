//go:build failpoint && linux

package dshash_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dshash"
)

// TestSwapInside: at each point inside of each call the session ends and its bytes are swapped: the answer is
// right, or ErrClosed, and the others find the tables in order.
func TestSwapInside(t *testing.T) {
	for i, use := range append(uses, own...) {
		t.Run(use.name, func(t *testing.T) {
			for nth, came := 0, true; came; nth++ {
				came = false
				if testing.Short() && nth > 0 {
					nth += 6
				}
				s := newStage(t, 1)
				n, point := 0, ""
				stop := failpoint.Watch(func(p string) {
					if n++; n == nth+1 {
						came, point = true, p
						s.closes.End()
						s.closes.Swap()
					}
				})
				err := use.call(s.second, 3)
				stop()
				if err != nil && !errors.Is(err, dshash.ErrClosed) {
					t.Errorf("swapped at %s, the %dth: %v", point, nth, err)
				}
				if came {
					s.second.refused(t)
				}
				if i >= len(uses) { // the table that it made is lost
					must(t, s.closes.Close())
					continue
				}
				if s.end(t); t.Failed() {
					t.Fatalf("swapped at %s, the %dth", point, nth)
				}
			}
		})
	}
}
