package main

import (
	"context"
	"io"
	"sync"
	"time"
)

// lastWords is how long a call may take once its context is over.
const lastWords = 100 * time.Millisecond

// leaving is f's result, for what the system may keep waiting for ever: writing to a pipe that
// nobody reads, opening one that nobody has opened at the other end. When ctx is over f is left
// behind, and ends with the process.
func leaving[X any](ctx context.Context, f func() (X, error)) (x X, err error) {
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
	case <-time.After(lastWords):
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
}

func (o *output) Write(p []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) && err == nil {
		o.buffer = append(o.buffer[:0], p[n:min(len(p), n+256<<10)]...)
		b, m := o.buffer, 0
		m, err = leaving(o.ctx, func() (int, error) { return o.w.Write(b) })
		n += m
	}
	if err != nil {
		o.buffer = nil // it may be in use
	}
	return n, err
}
