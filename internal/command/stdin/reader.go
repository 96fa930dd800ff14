package stdin

import (
	"context"
	"io"
)

// Reader reads r until ctx is over. A read that still waits then is left behind, and ends with the process; so it goes
// into memory of its own, never into the caller's. One goroutine at a time may use it.
func Reader(ctx context.Context, r io.Reader) io.Reader {
	type result struct {
		n   int
		err error
	}
	buffer, results := make([]byte, 256<<10), make(chan result, 1)
	return readFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		b := buffer[:min(len(p), len(buffer))]
		go func() {
			n, err := r.Read(b)
			results <- result{n, err}
		}()
		select {
		case x := <-results:
			return copy(p, b[:x.n]), x.err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
