package parallel

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/mq"
)

// crew is a leader's workers, of one Run.
type crew struct {
	task    string
	arg     json.RawMessage
	session *dsm.Session
	owner   *resowner.Owner
	options Options
	ready   func(worker, count int)

	hearing sync.Mutex // one message at a time
	over    bool       // under hearing: the run is, and no callback is called any more
	failed  error      // under hearing: what became of one that a leader which works alone has called

	mu        sync.Mutex
	members   []*member // by index
	retries   int       // used
	cancelled bool
}

// startWorkers starts n workers, the first of them for the index from, and returns those that have found
// a row. All start before any is waited for.
func (c *crew) startWorkers(ctx context.Context, from, n int) (ready []*member, err error) {
	if n <= 0 {
		return nil, nil
	}
	st, err := c.session.Status(ctx)
	if err != nil {
		return nil, err
	}
	var started []*member
	for range n {
		m, err := startMember(c.session.Config(), st, c.options.Files)
		if err != nil {
			return started, fmt.Errorf("parallel: starting a worker: %w", err)
		}
		started = append(started, m)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, m := range started {
			m.kill(unused) // it has begun nothing
		}
	})
	defer stop()
	is, errs := make([]bool, n), make([]error, n)
	var wg sync.WaitGroup
	for i, m := range started {
		wg.Go(func() { is[i], errs[i] = m.awaitReady(ctx, from+i, c.options.Hello) })
	}
	wg.Wait()
	for i, m := range started {
		if is[i] {
			ready = append(ready, m)
		}
	}
	failpoint.Hit("parallel/hire/ready")
	return ready, errors.Join(errs...)
}

// runParts gives each member its part, and waits for all.
func (c *crew) runParts(outer context.Context) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, c.cancel)
	defer stop()
	errs := make([]error, len(c.members)+1)
	var wg sync.WaitGroup
	for i := range c.members {
		wg.Go(func() {
			if errs[i] = c.runIndex(ctx, cancel, i); errs[i] != nil {
				cancel(errCancelled)
			}
		})
	}
	wg.Wait()
	if outer.Err() != nil {
		errs[len(c.members)] = context.Cause(outer)
	}
	return errors.Join(crewErrors(errs)...)
}

// cancel tells all members to stop, and kills those that don't.
func (c *crew) cancel() {
	grace := c.options.Grace
	time.AfterFunc(grace, func() { // first: one that is stopped may not read what it is told
		for _, m := range c.memberList() {
			m.kill(fmt.Sprintf("did not end within %v after it was cancelled, so it was killed", grace))
		}
	})
	c.mu.Lock()
	c.cancelled = true
	c.mu.Unlock()
	for _, m := range c.memberList() {
		m.sendOrder(order{Cancel: true})
	}
}

func (c *crew) memberList() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

// errCancelled is the error of a worker that stopped because it was told to.
var errCancelled = errors.New("cancelled")

// crewErrors keeps the errors that are reasons, not those of workers that were cancelled because of them.
func crewErrors(errs []error) (kept []error) {
	for _, err := range errs {
		if err != errCancelled {
			kept = append(kept, err)
		}
	}
	return kept
}

// runIndex has the work of one index done, by one member or, if that dies and may be replaced, by the next.
func (c *crew) runIndex(ctx context.Context, cancel context.CancelCauseFunc, i int) error {
	for attempt := 0; ; attempt++ {
		err := c.runMember(ctx, cancel, i, attempt)
		if e, ok := errors.AsType[*Error](err); !ok || !e.died || !c.mayRetry(ctx) {
			return err
		}
		if lerr := containFunction("the logger", func() error {
			log := c.session.Config().Logger
			log.Warn().Err(err).Str("event", "worker-died").Msg("a worker died; another one takes its place")
			return nil
		}); lerr != nil {
			return errors.Join(err, lerr)
		}
		switch rerr := c.startReplacement(ctx, i); {
		case errors.Is(rerr, errCancelled):
			return err
		case rerr != nil:
			return errors.Join(err, rerr)
		}
	}
}

func (c *crew) mayRetry(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelled || ctx.Err() != nil || c.retries == c.options.Retries {
		return false
	}
	c.retries++
	return true
}

// startReplacement puts a new process in the place of one that has ended.
func (c *crew) startReplacement(ctx context.Context, i int) error {
	hired, err := c.startWorkers(ctx, i, 1)
	if err == nil && len(hired) == 0 {
		err = dsm.ErrTooManyProcesses
	}
	if err != nil {
		dismissAll(hired)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[i] = hired[0]
	if c.cancelled {
		hired[0].kill(unused)
	}
	return nil
}

// runMember gives a member its part, listens to it, and waits until its process is gone.
func (c *crew) runMember(ctx context.Context, cancel context.CancelCauseFunc, i, attempt int) error {
	m := c.memberList()[i]
	g, err := c.session.Create(ctx, c.owner, mq.Size(ringSize))
	if errors.Is(err, errCancelled) {
		_ = m.sendNoWork()
		return errCancelled
	}
	if err != nil {
		return errors.Join(err, m.sendNoWork())
	}
	began := false
	err = g.With(func(b []byte) error { // the session may be closed meanwhile
		began = true
		in, err := newInbox(b, c.session.Self(), m.peer)
		if err != nil {
			return errors.Join(err, m.sendNoWork())
		}
		defer in.receiver.Detach()
		return c.sendOrderAndListen(cancel, m, in, order{Task: c.task, Index: i, Count: len(c.members), Attempt: attempt,
			Queue: g.Handle(), Arg: c.arg})
	})
	if !began {
		err = errors.Join(err, m.sendNoWork())
	}
	if derr := g.Detach(); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}

// sendOrderAndListen gives a member its order and hears it out.
func (c *crew) sendOrderAndListen(cancel context.CancelCauseFunc, m *member, in inbox, o order) error {
	i := o.Index
	heard := make(chan error, 1)
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	go func() { // which a callback may end
		var err error
		defer func() {
			if err != nil {
				in.receiver.Detach() // no worker waits for the leader to hear more
				cancel(errCancelled)
			}
			heard <- err
		}()
		err = in.listen(ctx, func(message []byte) error { return c.handleMessage(i, message, &err) })
	}()
	m.sendOrder(o)
	failpoint.Hit("parallel/work/ordered")
	lines, err := m.awaitExit(i)
	gone() // what it has sent is still heard
	herr := <-heard
	for _, l := range lines {
		if herr == nil {
			herr = containFunction("the logger", func() (left error) {
				return c.handleMessage(i, append([]byte{logMessage}, l...), &left)
			})
		}
	}
	switch {
	case herr == nil:
		return err
	case err == nil || err == errCancelled:
		return herr
	}
	return errors.Join(herr, err)
}

// functionName names the task's function in errors.
func (c *crew) functionName() string { return functionName(c.task) }

// keepFailure keeps the first error of a callback that the leader, working alone, has called for itself, and returns it.
func (c *crew) keepFailure(err error) error {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.failed == nil && err != errReturned {
		c.failed = err
	}
	return c.failed
}

// endSession lets no callback begin any more.
func (c *crew) endSession() {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	c.over = true
}

// handleMessage handles, in the leader, what workers send, one message at a time. If a callback calls runtime.Goexit,
// left gets the error that says so, since hear doesn't return then.
func (c *crew) handleMessage(worker int, message []byte, left *error) error {
	if len(message) == 0 {
		return nil
	}
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.over {
		return errReturned
	}
	content := message[1:]
	switch message[0] {
	case resultMessage:
		if c.options.Result != nil {
			return callFunction("result", worker, "Options.Result", left,
				func() error { return c.options.Result(worker, content) })
		}
	case progressMessage:
		if c.options.Progress != nil && len(content) == 16 {
			return callFunction("progress", worker, "Options.Progress", left, func() error {
				c.options.Progress(worker, int64(binary.LittleEndian.Uint64(content)),
					int64(binary.LittleEndian.Uint64(content[8:])))
				return nil
			})
		}
	case readyMessage:
		c.ready(worker, max(1, len(c.memberList())))
	case logMessage:
		return callFunction("log", worker, "the logger", left, func() error {
			relayLog(c.session.Config().Logger, worker, content)
			return nil
		})
	}
	return nil
}
