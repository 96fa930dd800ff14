//go:build failpoint && linux

package dshash_test

import (
	"errors"
	"fmt"
	"strings"
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

// TestSwapInOrder: the segments are swapped one after another, a call goes on from one failpoint to the next between two of
// them, and so loses an earlier store to one and keeps a later store to another. The others find whole entries.
func TestSwapInOrder(t *testing.T) {
	for _, use := range uses {
		for _, oldest := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, oldest %v", use.name, oldest), func(t *testing.T) {
				for nth, came := 0, true; came; nth++ {
					came = false
					if testing.Short() && nth > 0 {
						nth += 6
					}
					s := newStage(t, 1)
					n, point := 0, ""
					stop := failpoint.Watch(func(p string) {
						if !strings.HasPrefix(p, "dshash/") { // in the area nothing can be swapped: its hook waits for the call
							return
						}
						if n++; n == nth+1 {
							came, point = true, p
							s.closes.End()
							_ = s.second.area.Detach() // which the hooks do
						}
						if n > nth {
							s.closes.SwapNext(oldest)
						}
					})
					err := use.call(s.second, 3)
					stop()
					if err != nil && !errors.Is(err, dshash.ErrClosed) {
						t.Errorf("swapped from %s on, the %dth: %v", point, nth, err)
					}
					s.closes.End()
					s.closes.Swap()
					if s.end(t); t.Failed() {
						t.Fatalf("swapped from %s on, the %dth", point, nth)
					}
				}
			})
		}
	}
}
