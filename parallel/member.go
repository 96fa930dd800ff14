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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/lifeline"
	"github.com/godsm/godsm/shm/shmsync"
)

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
	killed  atomic.Pointer[string] // why the leader has killed it; nil if it has not
}

// startMember starts one process, with its ticket, its pipes and the files that it inherits.
func startMember(cfg dsm.Config, st dsm.Status, files []*os.File) (m *member, err error) {
	exe, err := memberExecutable()
	if err != nil {
		return nil, err
	}
	files, release, err := duplicateFiles(files)
	if err != nil {
		return nil, err
	}
	defer release()
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
	t := ticket{Version: ticketVersion, Dir: cfg.Dir, Instance: st.Instance, Generation: st.Generation, Nonce: newTicketNonce(),
		Files: len(files)}
	cmd := exec.Command(exe)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	t.Orders, t.Reports = inheritPipes(cmd, ordersIn, reportsOut, files)
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
	m.sendOrder(order{Nonce: t.Nonce, Settings: cfg.Settings, LogLevel: logLevel(cfg.Logger)})
	return m, nil
}

// memberExecutable returns the path of what this process runs, also when its file has been replaced since.
func memberExecutable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil && runtime.GOOS == "linux" {
		return self, nil
	}
	return os.Executable()
}

// awaitReady waits until a new worker is ready. One that finds no row does not take part, and is no error. One that
// does not say hello in time does not call Main.
func (m *member) awaitReady(ctx context.Context, i int, patience time.Duration) (ready bool, err error) {
	late := time.AfterFunc(patience, func() {
		m.kill(fmt.Sprintf("had not called parallel.Main %v after it was started, so it was killed: call parallel.Main "+
			"at the top of main, and of TestMain; Options.Hello is the time", patience))
	})
	r, err := m.readReport()
	late.Stop()
	if err == nil && r.Hello {
		r, err = m.readReport()
	}
	switch {
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
	return false, m.errSilent(i, "before it began: does main call parallel.Main?")
}

// awaitExit waits for a member to be done, and for its process to be gone.
func (m *member) awaitExit(i int) (lines []string, err error) {
	r, err := m.readReport()
	if err != nil || !r.Done {
		return nil, m.errSilent(i, "without a word")
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

// errSilent returns the error of a process that ended without a report.
func (m *member) errSilent(i int, when string) error {
	err := m.end()
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		how += ", as after a panic in another goroutine: its standard error tells"
	}
	e := &Error{Worker: i, died: true, Text: fmt.Sprintf("process %d ended %s (%s)", m.pid, when, how)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = ws.Signal()
			e.Text = fmt.Sprintf("process %d was killed by signal %d (%v)", m.pid, int(ws.Signal()), ws.Signal())
		}
	}
	if why := m.killed.Load(); why != nil && (e.Signal == syscall.SIGKILL || runtime.GOOS == "windows") {
		e.Text = fmt.Sprintf("process %d %s", m.pid, *why)
	}
	return e
}

// unused is why a member is killed that has nothing to end.
const unused = "was killed: its leader had no use for it any more"

// kill ends a member. Why is the reason that is reported for the process: only the first counts.
func (m *member) kill(why string) {
	m.killed.CompareAndSwap(nil, &why)
	_ = m.cmd.Process.Kill()
}

// dismissAll ends members without giving them work.
func dismissAll(members []*member) {
	for _, m := range members {
		_ = m.sendNoWork()
	}
}

// sendNoWork ends a member that has been given no work. It is told, so that it does not take its leader for dead.
func (m *member) sendNoWork() error {
	m.sendOrder(order{Cancel: true})
	return m.end()
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

// sendOrder sends an order. A worker that does not listen any more is found out by its silence.
func (m *member) sendOrder(o order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(o)
}

func (m *member) readReport() (r report, err error) {
	err = m.in.Decode(&r)
	return r, err
}
