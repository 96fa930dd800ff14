// Package proctest gives tests real processes: a helper is a function of the test binary, run in a new process
// of it, and spoken to by lines through pipes. A test waits for what a helper says, never for time to pass.
//
//	func TestMain(m *testing.M) { proctest.Main(m) }
//
//	func init() {
//		proctest.Register("holder", func(c *proctest.Child) error { ...; c.Say("ready"); c.Hear(); return nil })
//	}
//
//	p := proctest.Start(t, "holder", dir)
//	p.Expect("ready")
//	p.Kill()
package proctest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const variable = "DSM_PROCTEST_HELPER"

// Child is the helper's side.
type Child struct {
	Args  []string
	lines *bufio.Scanner
}

var helpers = map[string]func(*Child) error{}

// Register names a helper. Call it from init or before Main.
func Register(name string, f func(c *Child) error) { helpers[name] = f }

// Main runs the tests; TestMain calls it. In a helper's process it never returns. At the end it tells how to run again what has failed.
func Main(m *testing.M) {
	Helper()
	if os.Getenv("GORACE") == "" { // a process built with -race sleeps for a second at its end
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	code := m.Run()
	tellBlame()
	os.Exit(code)
}

// Helper runs the helper that this process was started as, if any, and then does not return.
func Helper() {
	name, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	os.Unsetenv(variable)
	f := helpers[name]
	if f == nil {
		fmt.Fprintf(os.Stderr, "proctest: no helper %q\n", name)
		os.Exit(2)
	}
	go endWithParent(os.Getppid())
	c := &Child{Args: os.Args[1:], lines: bufio.NewScanner(os.Stdin)}
	c.lines.Buffer(nil, 1<<20)
	if err := f(c); err != nil {
		fmt.Fprintf(os.Stderr, "helper %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// endWithParent ends a helper whose test was killed. (Where a process keeps its dead parent's
// number it ends with its input, or not.)
func endWithParent(parent int) {
	for os.Getppid() == parent {
		time.Sleep(time.Second)
	}
	os.Exit(3)
}

// Say sends a line to the test.
func (c *Child) Say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Hear waits for a line from the test; false when there will be none.
func (c *Child) Hear() (line string, ok bool) {
	ok = c.lines.Scan()
	return c.lines.Text(), ok
}

// Process is the test's side of a helper, or of any program that speaks in lines.
type Process struct {
	Cmd   *exec.Cmd
	Pid   int
	t     testing.TB
	in    io.WriteCloser
	lines chan string
	errs  *syncBuffer
	once  sync.Once
	err   error
}

// Start runs a helper. It is killed at the test's end if it still runs then.
func Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return Run(t, Command(name, args...))
}

// Command returns a helper that has not been started.
func Command(name string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), variable+"="+name)
	return cmd
}

// wineFailed reports whether wine could not start a process, as happens to it now and then: ERROR_INTERNAL_ERROR.
func wineFailed(err error) bool {
	return runtime.GOOS == "windows" && errors.Is(err, syscall.Errno(1359))
}

func (p *Process) start() (out io.Reader, err error) {
	if p.in, err = p.Cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if out, err = p.Cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.Cmd.Stderr = p.errs
	return out, p.Cmd.Start()
}

// Run runs any command.
func Run(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	Blame(t)
	p := &Process{Cmd: cmd, t: t, lines: make(chan string, 1000), errs: &syncBuffer{}}
	again := exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, ExtraFiles: cmd.ExtraFiles,
		SysProcAttr: cmd.SysProcAttr, Err: cmd.Err}
	out, err := p.start()
	for tries := 1; wineFailed(err) && tries < 5; tries++ {
		*cmd = again
		out, err = p.start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Pid = cmd.Process.Pid
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s, process %d, wrote: %s", cmd.Path, p.Pid, p.errs)
		}
	})
	return p
}

// patience is for a helper that does not say what it should; a test that gets this far has failed.
const patience = 60 * time.Second

// Line waits for the next line; false when there will be none.
func (p *Process) Line() (string, bool) {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		return l, ok
	case <-time.After(patience):
		p.t.Fatalf("process %d says nothing; it wrote: %s", p.Pid, p.errs)
		return "", false
	}
}

// Lines returns what the process says, for a test that waits for other things too. It is closed at the end.
func (p *Process) Lines() <-chan string { return p.lines }

// Expect waits for a line that begins with prefix, and returns the rest.
func (p *Process) Expect(prefix string) string {
	p.t.Helper()
	l, ok := p.Line()
	rest, found := strings.CutPrefix(l, prefix)
	if !ok || !found {
		p.t.Fatalf("process %d says %q (%v), want %q; it wrote: %s", p.Pid, l, ok, prefix, p.errs)
	}
	return strings.TrimSpace(rest)
}

// TrySend sends a line to a process that may be dead.
func (p *Process) TrySend(format string, args ...any) error {
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	return err
}

// Send sends a line.
func (p *Process) Send(format string, args ...any) {
	p.t.Helper()
	if err := p.TrySend(format, args...); err != nil {
		p.t.Fatalf("process %d does not listen: %v; it wrote: %s", p.Pid, err, p.errs)
	}
}

// Kill ends the process by SIGKILL and reaps it.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	_ = p.wait()
}

// Stop stops the process where it stands, as a terminal's ^Z does.
func (p *Process) Stop() error { return stop(p.Cmd.Process) }

// Close tells the process that it will hear nothing more, and waits for its end.
func (p *Process) Close() error {
	p.in.Close()
	return p.wait()
}

// CloseInput tells the process that it will hear nothing more.
func (p *Process) CloseInput() error { return p.in.Close() }

// Wait waits for the process to end by itself.
func (p *Process) Wait() error { return p.wait() }

func (p *Process) wait() error {
	p.once.Do(func() {
		for range p.lines { // Wait closes the pipe under a reader
		}
		p.err = p.Cmd.Wait()
		p.in.Close()
	})
	return p.err
}

// Stderr returns what the process has written there so far.
func (p *Process) Stderr() string { return p.errs.String() }

// ExitCode returns the status a finished process ended with; -1 for a signal.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
