//go:build linux && failpoint

package dsm_test

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestEarlyAttach has a goroutine attach a segment that another goroutine of the session is making: it has found the
// handle in the list of segments, and waits for the control lock when the maker enters the segment into the session's
// table. The session has one holding in the end, so what the early goroutine gives back takes nothing from the maker.
func TestEarlyAttach(t *testing.T) {
	for round := range 20 {
		cfg := instancetest.Config(t, "posix")
		instancetest.Start(t, cfg)
		s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)

		var made, held atomic.Bool
		inside, leave := make(chan struct{}), make(chan struct{})
		early, others := make(chan error, 1), make(chan error, 1)
		stop := failpoint.Watch(func(point string) {
			switch {
			case point == "control/create/locked" && made.Load() && held.CompareAndSwap(false, true):
				close(inside) // the other session has the control lock
				<-leave
			case point == "dsm/create/made" && made.CompareAndSwap(false, true):
				list, err := s.Segments(ctx)
				if err != nil || len(list) != 1 {
					t.Errorf("%d segments while one is made: %v", len(list), err)
					close(leave)
					early <- nil
					others <- nil
					return
				}
				handle := list[0].Handle
				go func() {
					g, err := other.Create(ctx, other.Owner(), 4096)
					if err == nil {
						err = g.Detach()
					}
					others <- err
				}()
				<-inside
				go func() {
					g, err := s.Attach(ctx, s.Owner(), handle)
					if err == nil {
						err = g.Detach()
					}
					early <- err
				}()
				for !dsm.HasHolding(s, handle) {
					runtime.Gosched()
				}
				go func() { // once the maker has gone on
					for range 1000 {
						runtime.Gosched()
					}
					close(leave)
				}()
			}
		})
		g := create(t, s, 4096)
		err := <-early
		if err != nil && !errors.Is(err, dsm.ErrNotFound) {
			t.Error(err)
		}
		if err := <-others; err != nil {
			t.Error(err)
		}
		stop()
		attached, err := other.Attach(ctx, other.Owner(), g.Handle())
		if err != nil {
			t.Fatalf("round %d: the maker's segment is gone: %v", round, err)
		}
		if err := errors.Join(attached.Detach(), g.Detach()); err != nil {
			t.Error(err)
		}
		if list, err := other.Segments(ctx); err != nil || len(list) != 0 {
			t.Errorf("%d segments are left: %v", len(list), err)
		}
	}
}
