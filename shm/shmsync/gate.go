package shmsync

import (
	"context"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
)

// gate lets one goroutine of a process in at a time, and others wait for it until their context is over. It lies in this
// process's own memory, in front of a Mutex's word. Alone it costs two atomic operations, a third of what a channel does.
// It is no queue: a goroutine that comes may be in before those that sleep.
type gate struct {
	taken   atomic.Bool   // a goroutine is in
	waiting atomic.Int32  // goroutines that wait, or are about to
	left    chan struct{} // holds a token if a goroutine has left since a waiter last looked
}

// newGate returns a gate that is open.
func newGate() gate { return gate{left: make(chan struct{}, 1)} }

// tryEnter reports whether the caller is in now. It does not wait.
func (g *gate) tryEnter() bool { return g.taken.CompareAndSwap(false, true) }

// enter waits until the caller is in, which it reports; false: ctx was over first, or the view, which may be nil. A caller
// that arrives may be in before those that sleep.
//
// One token is enough for all that wait: a waiter that takes it tries, and if another goroutine is in by then, that one
// leaves a token too.
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
		case <-g.left: // the goroutine that takes the token tries
		case <-ctx.Done():
			return false
		case <-over:
			return false
		}
	}
	return true
}

// leave opens the gate and then wakes one of those that wait. Any goroutine may call it for the one that is in.
func (g *gate) leave() {
	g.taken.Store(false)
	if g.waiting.Load() > 0 {
		select {
		case g.left <- struct{}{}:
		default:
		}
	}
}
