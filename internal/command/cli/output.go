package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lastWords is how long a call may take once its context is over, and all writes to one output together.
const lastWords = 100 * time.Millisecond

// Leaving is f's result, for what the system may keep waiting for ever: writing to a pipe that
// nobody reads, opening one that nobody has opened at the other end. When ctx is over f is left
// behind, and ends with the process.
func Leaving[X any](ctx context.Context, f func() (X, error)) (x X, err error) {
	return leavingAfter(ctx, lastWords, f)
}

// leavingAfter is Leaving with another time for what is at work when ctx is over.
func leavingAfter[X any](ctx context.Context, patience time.Duration, f func() (X, error)) (x X, err error) {
	type result struct {
		x   X
		err error
	}
	results := make(chan result, 1)
	go func() {
		x, err := f()
		results <- result{x, err}
	}()
	select {
	case r := <-results:
		return r.x, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-results:
		return r.x, r.err
	case <-time.After(patience):
		return x, context.Cause(ctx)
	}
}

// output writes to w, and waits for it no longer than ctx lasts. What is written is copied: a write
// that is left behind must find nobody else's bytes.
type output struct {
	ctx    context.Context
	w      io.Writer
	mu     sync.Mutex
	buffer []byte
	gone   atomic.Bool   // the reader has closed it
	spent  time.Duration // on waiting since ctx was over: a reader may be slow for ever
}

// NewOutput returns a writer to w that waits for it no longer than ctx lasts.
func NewOutput(ctx context.Context, w io.Writer) io.Writer { return &output{ctx: ctx, w: w} }

func (o *output) Write(p []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) && err == nil {
		o.buffer = append(o.buffer[:0], p[n:min(len(p), n+256<<10)]...)
		b, m := o.buffer, 0
		over, begin := o.ctx.Err() != nil, time.Now()
		m, err = leavingAfter(o.ctx, lastWords-o.spent, func() (int, error) { return o.w.Write(b) })
		if n += m; over {
			o.spent += time.Since(begin)
		}
	}
	if err != nil {
		o.buffer = nil // it may be in use
	}
	if errors.Is(err, syscall.EPIPE) {
		o.gone.Store(true)
	}
	return n, err
}
