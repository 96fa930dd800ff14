package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/lifeline"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// crew is a leader's workers, of one Run.
type crew struct {
	task    string
	arg     json.RawMessage
	session *dsm.Session
	owner   *resowner.Owner
	options Options
	hearing sync.Mutex // one message at a time

	mu        sync.Mutex
	members   []*member // by index
	retries   int       // used
	cancelled bool
}

// member is one worker process as its leader sees it.
type member struct {
	cmd     *exec.Cmd
	orders  *os.File
	reports *os.File
	in      *json.Decoder // of reports
	out     *json.Encoder // to orders
	mu      sync.Mutex    // out
	pid     int
	peer    shmsync.Peer
}

// hire starts n workers, the first of them for the index from, and returns those that have found
// a row. All start before any is waited for.
func (c *crew) hire(ctx context.Context, from, n int) (ready []*member, err error) {
	if n <= 0 {
		return nil, nil
	}
	st, err := c.session.Status(ctx)
	if err != nil {
		return nil, err
	}
	var started []*member
	for range n {
		m, err := start(c.session.Config(), st.Generation)
		if err != nil {
			return started, fmt.Errorf("parallel: starting a worker: %w", err)
		}
		started = append(started, m)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, m := range started {
			_ = m.cmd.Process.Kill() // it has begun nothing
		}
	})
	defer stop()
	var errs []error
	for i, m := range started {
		is, err := m.greet(ctx, from+i)
		if is {
			ready = append(ready, m)
		}
		errs = append(errs, err)
	}
	failpoint.Hit("parallel/hire/ready")
	return ready, errors.Join(errs...)
}

// greet waits until a new worker is ready. One that finds no row does not take part, and is no error.
func (m *member) greet(ctx context.Context, i int) (ready bool, err error) {
	switch r, err := m.hear(); {
	case err == nil && r.Ready:
		m.peer = r.Peer
		return true, nil
	case ctx.Err() != nil:
		m.end()
		return false, context.Cause(ctx)
	case err == nil:
		m.end()
		if r.Full {
			return false, nil
		}
		return false, r.error(i)
	}
	return false, m.silent(i, "before it began: does main call parallel.Main?")
}

// start starts one process, with its ticket and its pipes.
func start(cfg dsm.Config, generation uint64) (m *member, err error) {
	exe, err := program()
	if err != nil {
		return nil, err
	}
	ordersIn, ordersOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ordersIn.Close()
	reportsIn, reportsOut, err := os.Pipe()
	if err != nil {
		ordersOut.Close()
		return nil, err
	}
	defer reportsOut.Close()
	t := ticket{Version: ticketVersion, Dir: cfg.Dir, Generation: generation, Nonce: newNonce()}
	cmd := exec.Command(exe)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	t.Orders, t.Reports = inherit(cmd, ordersIn, reportsOut)
	cmd.Env = append(os.Environ(), ticketVariable+"="+t.String())
	if err := cmd.Start(); err != nil {
		ordersOut.Close()
		reportsIn.Close()
		return nil, err
	}
	failpoint.Hit("parallel/start/started")
	lifeline.Tie(cmd.Process)
	m = &member{cmd: cmd, orders: ordersOut, reports: reportsIn, in: json.NewDecoder(reportsIn),
		out: json.NewEncoder(ordersOut), pid: cmd.Process.Pid}
	m.tell(order{Nonce: t.Nonce, Settings: cfg.Settings, LogLevel: levelOf(cfg.Logger)})
	return m, nil
}

// program is what this process runs, also when its file has been replaced since.
func program() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil && runtime.GOOS == "linux" {
		return self, nil
	}
	return os.Executable()
}

// work gives each member its part, and waits for all.
func (c *crew) work(outer context.Context) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, c.cancel)
	defer stop()
	errs := make([]error, len(c.members)+1)
	var wg sync.WaitGroup
	for i := range c.members {
		wg.Go(func() {
			if errs[i] = c.place(ctx, cancel, i); errs[i] != nil {
				cancel(errCancelled)
			}
		})
	}
	wg.Wait()
	if outer.Err() != nil {
		errs[len(c.members)] = context.Cause(outer)
	}
	return errors.Join(dropCancelled(errs)...)
}

// cancel tells all members to stop, and kills those that don't.
func (c *crew) cancel() {
	time.AfterFunc(grace, func() { // first: one that is stopped may not read what it is told
		for _, m := range c.list() {
			_ = m.cmd.Process.Kill()
		}
	})
	c.mu.Lock()
	c.cancelled = true
	c.mu.Unlock()
	for _, m := range c.list() {
		m.tell(order{Cancel: true})
	}
}

func (c *crew) list() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

// errCancelled is the error of a worker that stopped because it was told to.
var errCancelled = errors.New("cancelled")

// dropCancelled keeps the errors that are reasons, not those of workers that were cancelled because of them.
func dropCancelled(errs []error) (kept []error) {
	for _, err := range errs {
		if err != errCancelled {
			kept = append(kept, err)
		}
	}
	return kept
}

// place has the work of one index done, by one member or, if that dies and may be replaced, by the next.
func (c *crew) place(ctx context.Context, cancel context.CancelCauseFunc, i int) error {
	for attempt := 0; ; attempt++ {
		err := c.employ(ctx, cancel, i, attempt)
		if e, ok := errors.AsType[*Error](err); !ok || !e.died || !c.mayRetry(ctx) {
			return err
		}
		log := c.session.Config().Logger
		log.Warn().Err(err).Msg("a worker died; another one takes its place")
		if rerr := c.replace(ctx, i); rerr != nil {
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

// replace puts a new process in the place of one that has ended.
func (c *crew) replace(ctx context.Context, i int) error {
	hired, err := c.hire(ctx, i, 1)
	if err == nil && len(hired) == 0 {
		err = dsm.ErrTooManyProcesses
	}
	if err != nil {
		dismiss(hired)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[i] = hired[0]
	if c.cancelled {
		_ = hired[0].cmd.Process.Kill()
	}
	return nil
}

// employ gives a member its part, listens to it, and waits until its process is gone.
func (c *crew) employ(ctx context.Context, cancel context.CancelCauseFunc, i, attempt int) error {
	m := c.list()[i]
	g, err := c.session.Create(ctx, c.owner, mq.Size(ringSize))
	if err != nil {
		return errors.Join(err, m.end())
	}
	began := false
	err = g.With(func(b []byte) error { // the session may be closed meanwhile
		began = true
		in, err := newInbox(b, c.session.Self(), m.peer)
		if err != nil {
			return errors.Join(err, m.end())
		}
		defer in.receiver.Detach()
		return c.direct(cancel, m, in, order{Task: c.task, Index: i, Count: len(c.members), Attempt: attempt,
			Queue: g.Handle(), Arg: c.arg})
	})
	if !began {
		err = errors.Join(err, m.end())
	}
	if derr := g.Detach(); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}

// direct gives a member its order and hears it out.
func (c *crew) direct(cancel context.CancelCauseFunc, m *member, in inbox, o order) error {
	i := o.Index
	heard := make(chan error, 1)
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	go func() {
		err := in.listen(ctx, func(message []byte) error { return c.hear(i, message) })
		if err != nil {
			in.receiver.Detach() // nobody waits for the leader to hear more
			cancel(errCancelled)
		}
		heard <- err
	}()
	m.tell(o)
	failpoint.Hit("parallel/work/ordered")
	lines, err := m.await(i)
	gone() // what it has sent is still heard
	if herr := <-heard; herr != nil {
		err = errors.Join(herr, err)
	}
	for _, l := range lines {
		relay(c.session.Config().Logger, i, []byte(l))
	}
	return err
}

// await waits for a member to be done, and for its process to be gone.
func (m *member) await(i int) (lines []string, err error) {
	r, err := m.hear()
	if err != nil || !r.Done {
		return nil, m.silent(i, "without a word")
	}
	m.end()
	switch {
	case r.Cancelled:
		err = errCancelled
	case r.Error != "":
		err = r.error(i)
	}
	return r.Lines, err
}

func (r report) error(worker int) *Error {
	return &Error{Worker: worker, Text: r.Error, kind: errkind.Named(r.Kind)}
}

// silent is the error of a process that ended without a report.
func (m *member) silent(i int, when string) error {
	err := m.end()
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	e := &Error{Worker: i, died: true, Text: fmt.Sprintf("process %d ended %s (%s)", m.pid, when, how)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = ws.Signal()
			e.Text = fmt.Sprintf("process %d was killed by signal %d (%v)", m.pid, int(ws.Signal()), ws.Signal())
		}
	}
	return e
}

// dismiss ends members without giving them work.
func dismiss(members []*member) {
	for _, m := range members {
		m.end()
	}
}

// end closes the pipes, which a worker takes for the end of its leader, and waits for the process.
func (m *member) end() error {
	m.mu.Lock()
	m.orders.Close()
	m.mu.Unlock()
	err := m.cmd.Wait()
	m.reports.Close()
	return err
}

// tell sends an order. A worker that does not listen any more is found out by its silence.
func (m *member) tell(o order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(o)
}

func (m *member) hear() (r report, err error) {
	err = m.in.Decode(&r)
	return r, err
}
