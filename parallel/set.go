package parallel

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
)

// Set is workers that serve until they are told to stop. A Set is replaced by another one without losing a connection:
// both inherit the same listeners, whose queue is the kernel's, so
//
//	next, err := server.Start(ctx, session, options, newVersion)
//	if err == nil {
//		err = old.Stop() // which answers what it has accepted
//	}
//
// leaves no moment in which no process accepts. If the new Set can't begin, the old one goes on.
type Set struct {
	drain func()
	done  chan struct{} // closed when all workers have ended, with err
	err   error
}

// Start starts workers, as RunWith does, and returns when each of them has called Ready. If one of them fails before,
// or ctx ends, that is an error, and none is left. The context bounds the start alone; Stop ends the Set, and so do
// the end of the session and a worker that fails, or dies when Options.Retries have been used.
//
// A worker that is to lose no connection closes its listener when its context ends, waits until it accepts no more,
// and answers what it has accepted. With net/http that is not Server.Shutdown, which drops a connection whose request
// it has not read yet: the example redeploy has a function that does it.
func (t *Task[A]) Start(ctx context.Context, session *dsm.Session, o Options, arg A) (*Set, error) {
	life, end := context.WithCancelCause(context.Background())
	s := &Set{drain: func() { end(errCancelled) }, done: make(chan struct{})}
	all, said := make(chan struct{}), map[int]bool{} // by worker; under the crew's lock
	go func() {
		defer close(s.done)
		s.err = t.execute(life, session, o, arg, func(worker, count int) {
			if !said[worker] {
				if said[worker] = true; len(said) == count {
					close(all)
				}
			}
		})
		if errors.Is(s.err, context.Canceled) && life.Err() != nil { // of a leader that works alone
			s.err = nil
		}
		end(nil)
	}()
	select {
	case <-all:
		return s, nil
	case <-s.done:
		if s.err == nil {
			s.err = errors.New("parallel: the workers have ended, and not all of them said that they are ready: call Worker.Ready")
		}
		return nil, s.err
	case <-ctx.Done():
		_ = s.Stop()
		return nil, fmt.Errorf("parallel: not all workers have said that they are ready: %w", context.Cause(ctx))
	}
}

// Stop cancels the contexts of the workers and waits until all have ended. Those that have not ended Options.Grace
// later are killed, which is an error: what they were answering is lost. Stopping twice is harmless.
func (s *Set) Stop() error {
	if s.done == nil {
		return errors.New("parallel: this Set was not started")
	}
	s.drain()
	<-s.done
	return s.err
}

// Done returns a channel that is closed when all workers have ended: after Stop, or because one has failed; Stop tells
// why. It is nil for a Set that was not started.
func (s *Set) Done() <-chan struct{} { return s.done }
