package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/lifeline"
)

// crew is a leader's workers, of one Run.
type crew struct {
	task    string
	arg     json.RawMessage
	members []*member
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
}

// hire starts workers and keeps those that have found a row. All start before any is waited for.
func (c *crew) hire(ctx context.Context, session *dsm.Session, n int) error {
	if n <= 0 {
		return nil
	}
	st, err := session.Status(ctx)
	if err != nil {
		return err
	}
	started := make([]*member, 0, n)
	defer func() { c.members = started }()
	for range n {
		m, err := start(session.Config(), st.Generation)
		if err != nil {
			return fmt.Errorf("parallel: starting a worker: %w", err)
		}
		started = append(started, m)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, m := range started {
			_ = m.cmd.Process.Kill() // it has begun nothing
		}
	})
	defer stop()
	ready := started[:0:0]
	var errs []error
	for i, m := range started {
		switch r, err := m.hear(); {
		case err == nil && r.Ready:
			ready = append(ready, m)
			continue
		case ctx.Err() != nil:
			errs = append(errs, context.Cause(ctx))
		case err == nil && r.Full:
		case err == nil:
			errs = append(errs, r.error(i))
		default:
			errs = append(errs, m.silent(i, "before it began: does main call parallel.Main?"))
			continue
		}
		m.end()
	}
	failpoint.Hit("parallel/hire/ready")
	started = ready
	return errors.Join(errs...)
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
	m = &member{cmd: cmd, orders: ordersOut, reports: reportsIn, in: json.NewDecoder(reportsIn), out: json.NewEncoder(ordersOut), pid: cmd.Process.Pid}
	m.tell(order{Nonce: t.Nonce, Settings: cfg.Settings})
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
func (c *crew) work(ctx context.Context) error {
	cancel := sync.OnceFunc(func() {
		time.AfterFunc(grace, func() { // first: one that is stopped may not read what it is told
			for _, m := range c.members {
				_ = m.cmd.Process.Kill()
			}
		})
		for _, m := range c.members {
			m.tell(order{Cancel: true})
		}
	})
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	errs := make([]error, len(c.members)+1)
	var wg sync.WaitGroup
	for i, m := range c.members {
		m.tell(order{Task: c.task, Index: i, Count: len(c.members), Arg: c.arg})
		failpoint.Hit("parallel/work/ordered")
		wg.Go(func() {
			if errs[i] = m.await(i); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		errs[len(c.members)] = context.Cause(ctx)
	}
	return errors.Join(dropCancelled(errs)...)
}

// errCancelled is of a worker that stopped because it was told to.
var errCancelled = errors.New("cancelled")

// dropCancelled leaves the reasons alone, not what followed from them.
func dropCancelled(errs []error) (kept []error) {
	for _, err := range errs {
		if err != errCancelled {
			kept = append(kept, err)
		}
	}
	return kept
}

// await waits for a member to be done, and for its process to be gone.
func (m *member) await(i int) error {
	r, err := m.hear()
	if err != nil || !r.Done {
		return m.silent(i, "without a word")
	}
	m.end()
	switch {
	case r.Cancelled:
		return errCancelled
	case r.Error != "":
		return r.error(i)
	}
	return nil
}

func (r report) error(worker int) *Error {
	return &Error{Worker: worker, Text: r.Error, kind: errkind.Named(r.Kind)}
}

// silent says how a process ended that has not said so itself.
func (m *member) silent(i int, when string) error {
	err := m.end()
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	e := &Error{Worker: i, Text: fmt.Sprintf("process %d ended %s (%s)", m.pid, when, how)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = ws.Signal()
			e.Text = fmt.Sprintf("process %d was killed by signal %d (%v)", m.pid, int(ws.Signal()), ws.Signal())
		}
	}
	return e
}

// dismiss ends all members without giving them work.
func (c *crew) dismiss() {
	for _, m := range c.members {
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
