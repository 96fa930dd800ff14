package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// Main is called at the top of main, and of TestMain, by every program that starts workers. In a process that was started as one it runs the
// task and never returns; in any other it does nothing.
func Main() {
	text, ok := os.LookupEnv(ticketVariable)
	if !ok {
		return
	}
	os.Unsetenv(ticketVariable)
	t, err := parseTicket(text)
	if err == nil {
		err = serve(t)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: worker: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	os.Exit(0)
}

// leader is a worker's end of the pipes.
type leader struct {
	in  *json.Decoder
	out *json.Encoder
}

// serve is a worker's life. Its errors are of the pipes: those of the task go to the leader.
func serve(t ticket) error {
	in, out, err := inherited(t)
	if err != nil {
		return err
	}
	l := leader{json.NewDecoder(in), json.NewEncoder(out)}
	var hello order
	if err := l.in.Decode(&hello); err != nil || hello.Nonce != t.Nonce {
		return fmt.Errorf("the ticket was not made for this process (%v)", err)
	}
	failpoint.Hit("parallel/worker/hello")
	session, err := join(t, hello.Settings)
	if err != nil {
		return l.out.Encode(report{Full: errors.Is(err, dsm.ErrTooManyProcesses), Error: err.Error(), Kind: errkind.Name(err)})
	}
	defer session.Close()
	failpoint.Hit("parallel/worker/joined")
	if err := l.out.Encode(report{Ready: true}); err != nil {
		return err
	}
	var work order
	if err := l.in.Decode(&work); err != nil || work.Count == 0 {
		return nil // dismissed
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go l.obey(cancel)
	failpoint.Hit("parallel/worker/ordered")
	err = l.run(ctx, session, work)
	failpoint.Hit("parallel/worker/ran")
	r := report{Done: true, Cancelled: err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled)}
	err = errors.Join(err, session.Close()) // before the report: a leader that has it may expect all given back
	failpoint.Hit("parallel/worker/left")
	if err != nil {
		r.Error, r.Kind = err.Error(), errkind.Name(err)
	}
	return l.out.Encode(r)
}

func join(t ticket, settings map[string]string) (*dsm.Session, error) {
	ctx := context.Background()
	s, err := dsm.Open(ctx, dsm.Config{Dir: t.Dir, Application: filepath.Base(os.Args[0]) + " worker", Settings: settings})
	if err != nil {
		return nil, err
	}
	st, err := s.Status(ctx)
	if err == nil && st.Generation != t.Generation {
		err = dsm.ErrStale
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// obey waits for the word to stop. If that is the leader's end, nobody is left to kill a worker that does not.
func (l leader) obey(cancel func()) {
	var o order
	for l.in.Decode(&o) == nil {
		if o.Cancel {
			cancel()
		}
	}
	cancel()
	time.Sleep(orphanGrace)
	os.Exit(1)
}

// run runs the task; a panic in it is its error, with the stack.
func (l leader) run(ctx context.Context, s *dsm.Session, work order) (err error) {
	registeredMu.Lock()
	f := registered[work.Task]
	registeredMu.Unlock()
	if f == nil {
		return fmt.Errorf("this program has no task %q: register it for a package variable", work.Task)
	}
	return runHere(ctx, s, func(ctx context.Context, w *Worker) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		w.Index, w.Count = work.Index, work.Count
		return f(ctx, w, work.Arg)
	})
}
