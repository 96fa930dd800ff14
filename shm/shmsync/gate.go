package shmsync

import (
	"context"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
)

// gate lets one goroutine of a process in at a time, and others wait for it until their context is over. Alone it costs
// two atomic operations, a third of what a channel does.
type gate struct {
	taken   atomic.Bool
	waiting atomic.Int32
	left    chan struct{} // holds a token if a process has left since a waiter last looked
}

func newGate() gate { return gate{left: make(chan struct{}, 1)} }

func (g *gate) tryEnter() bool { return g.taken.CompareAndSwap(false, true) }

// enter waits; false: until ctx was over, or the view. A caller that arrives may be in before those that sleep.
func (g *gate) enter(ctx context.Context, v *shm.View) bool {
	if g.tryEnter() {
		return true
	}
	var over chan struct{}
	if v != nil {
		over = make(chan struct{})
		defer v.OnEnd(func() { close(over) })()
	}
	g.waiting.Add(1) // before the look, as leave looks after it has opened: one of the two sees the other
	defer g.waiting.Add(-1)
	for !g.tryEnter() {
		select {
		case <-g.left: // the process that takes the token tries
		case <-ctx.Done():
			return false
		case <-over:
			return false
		}
	}
	return true
}

func (g *gate) leave() {
	g.taken.Store(false)
	if g.waiting.Load() > 0 {
		select {
		case g.left <- struct{}{}:
		default:
		}
	}
}
