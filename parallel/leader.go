package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/rs/zerolog"
)

// leader is a worker's end of the pipes.
type leader struct {
	in  *json.Decoder
	out *json.Encoder

	files []*os.File // Worker.Files
}

// serveLeader runs a worker from its start to its end. Its errors are of the pipes: those of the task go to the leader.
func serveLeader(t ticket) error {
	in, out, err := inheritedPipes(t)
	if err != nil {
		return err
	}
	files, err := inheritedFiles(t)
	if err != nil {
		return err
	}
	l := leader{json.NewDecoder(in), json.NewEncoder(out), files}
	var hello order
	if err := l.in.Decode(&hello); err != nil || hello.Nonce != t.Nonce {
		return fmt.Errorf("the ticket was not made for this process (%v)", err)
	}
	if err := l.out.Encode(report{Hello: true}); err != nil {
		return err
	}
	failpoint.Hit("parallel/worker/hello")
	var box outbox
	log := zerolog.New(&box).Level(hello.LogLevel).With().Timestamp().Logger()
	session, err := joinLeaderSession(t, hello.Settings, log)
	if err != nil {
		return l.out.Encode(report{Full: errors.Is(err, dsm.ErrTooManyProcesses), Error: excerpt.Of(err.Error(), excerpt.Text),
			Kind: errkind.Name(err)})
	}
	defer session.Close()
	failpoint.Hit("parallel/worker/joined")
	if err := l.out.Encode(report{Ready: true, Peer: session.Self().Peer}); err != nil {
		return err
	}
	var work order
	if err := l.in.Decode(&work); err != nil {
		exitIfLeaderDied(session)
		return nil
	}
	if work.Count == 0 { // dismissed, or cancelled before there was work
		_ = session.Close()
		return l.out.Encode(report{Done: true, Cancelled: true})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dead := make(chan struct{})
	go l.awaitStop(cancel, session, dead)
	failpoint.Hit("parallel/worker/ordered")
	err = l.runTask(ctx, session, work, &box, log)
	failpoint.Hit("parallel/worker/ran")
	select {
	case <-dead:
		exitIfLeaderDied(session)
	default:
	}
	r := report{Done: true, Cancelled: err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled)}
	err = errors.Join(err, session.Close()) // before the report: a leader that has it may expect all given back
	failpoint.Hit("parallel/worker/left")
	if err != nil {
		r.Error, r.Kind = excerpt.Of(err.Error(), excerpt.Text), errkind.Name(err)
	}
	r.Lines = box.unsent()
	return l.out.Encode(r)
}

func joinLeaderSession(t ticket, settings map[string]string, log zerolog.Logger) (*dsm.Session, error) {
	ctx := context.Background()
	s, err := dsm.Open(ctx, dsm.Config{Dir: t.Dir, Application: filepath.Base(os.Args[0]) + " worker",
		Settings: settings, Logger: log})
	const moved = "the directory was moved or removed under the leader's instance, and a worker finds that by its path alone"
	if errors.Is(err, dsm.ErrNoInstance) {
		err = fmt.Errorf("%w; perhaps %s", err, moved)
	}
	if err != nil {
		return nil, err
	}
	st, err := s.Status(ctx)
	switch {
	case err != nil:
	case st.Instance != t.Instance:
		err = fmt.Errorf("%w: another instance is in %s: %s", dsm.ErrNoInstance, t.Dir, moved)
	case st.Generation != t.Generation:
		err = dsm.ErrStale
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// exitIfLeaderDied waits, after the leader's end, until a supervisor of a private instance that was in the same
// process is seen dead, too: a process that is killed loses its pipes and its locks one after the other. Only then
// does the last session to leave know that it is to remove the instance.
func exitIfLeaderDied(session *dsm.Session) {
	for end := time.Now().Add(orphanGrace / 2); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if st, err := session.Status(context.Background()); err != nil || !st.Private || !st.Supervised {
			return
		}
	}
}

// awaitStop waits for the word to stop. If that is the leader's end, it closes dead, and no process is left to kill a
// worker that does not stop. It leaves the instance itself then: the last one to leave a private instance removes it.
func (l leader) awaitStop(cancel func(), session *dsm.Session, dead chan<- struct{}) {
	var o order
	for l.in.Decode(&o) == nil {
		if o.Cancel {
			cancel()
		}
	}
	close(dead)
	cancel()
	time.Sleep(orphanGrace)
	time.AfterFunc(orphanGrace, func() { os.Exit(1) })
	_ = session.Close()
	os.Exit(1)
}

// runTask runs the task. A panic in it, or runtime.Goexit, is its error.
func (l leader) runTask(ctx context.Context, s *dsm.Session, work order, box *outbox, log zerolog.Logger) (err error) {
	registeredMu.Lock()
	f := registered[work.Task]
	registeredMu.Unlock()
	if f == nil {
		return fmt.Errorf("this program has no task %q: register it for a package variable", work.Task)
	}
	owner, err := s.Owner().Child("parallel")
	if err != nil {
		return err
	}
	g, err := s.Attach(ctx, s.Owner(), work.Queue)
	if err != nil {
		return fmt.Errorf("the queue to the leader: %w", err)
	}
	defer box.shutSending()
	defer func() { err = errors.Join(err, owner.Abort()) }() // before, since the log may tell of it
	if err := box.open(g, s.Self()); err != nil {
		return fmt.Errorf("the queue to the leader: %w", err)
	}
	w := &Worker{Index: work.Index, Count: work.Count, Attempt: work.Attempt, Session: s, Owner: owner, Log: log,
		Files: l.files}
	w.connect(box.send)
	return containFunction(functionName(work.Task), func() error { return f(ctx, w, work.Arg) })
}
