package batch

import (
	"context"
	"sync/atomic"
	"time"
)

// states of a command. The legal moves are in the package comment.
const (
	waiting uint32 = iota
	taken
	withdrawn
	left
	done
)

// A call is a command on its way, and who waits for it. The caller of Do owns it until the state is withdrawn or left,
// and again once it has been answered; in between the worker owns all fields but state.
type call[Cmd, Res any] struct {
	state    atomic.Uint32
	admitted bool // it counts as one of Options.Queue; under queue.mu
	queued   bool // it is in the queue; under queue.mu

	cmd    Cmd
	res    Res
	err    error
	size   int
	since  time.Time
	stream *stream

	suspicion suspicion // of the worker

	interact *interaction          // what it is instead of a command
	fence    bool                  // it is a Flush
	ctx      context.Context       // of Submit and Post: looked at when the call is taken
	future   *Future[Res]          // of Submit
	told     func(Cmd, Res, error) // of Post
	admit    chan struct{}         // of Submit and Post, if the queue was full: closed when there is room, or the call is taken
	ready    chan struct{}         // of Do: receives one value when the call is done
	next     *call[Cmd, Res]       // the next one merged into the same entry
}

// move makes one of the legal moves, and reports whether the call was in that state.
func (c *call[Cmd, Res]) move(from, to uint32) bool { return c.state.CompareAndSwap(from, to) }

// takeBack moves a call from taken to waiting, or from left to withdrawn. It reports whether the call is still wanted.
func (c *call[Cmd, Res]) takeBack() bool {
	return c.move(taken, waiting) || !c.move(left, withdrawn) && c.state.Load() == waiting
}

// A Future is the outcome of a command that was handed in by Submit.
type Future[Res any] struct {
	done chan struct{}
	res  Res
	err  error
}

// Done returns a channel that is closed when the outcome is known.
func (f *Future[Res]) Done() <-chan struct{} { return f.done }

// Wait waits for the outcome until the context ends. The end of this context does not withdraw the command: Wait then
// returns an [Error] that says Maybe, and may be called again.
func (f *Future[Res]) Wait(ctx context.Context) (Res, error) {
	select {
	case <-f.done:
		return f.res, f.err
	default:
	}
	select {
	case <-f.done:
		return f.res, f.err
	case <-ctx.Done():
		var none Res
		return none, &Error{Executed: Maybe, Err: context.Cause(ctx)}
	}
}
