// Package side runs one side of a figure in a process of its own, round by round.
//
// A side is any program that says "ready", measures once for each line "round" that it hears, answers with a line of
// numbers, and ends with its input. What it can't do it says in a line that begins with "error". Go
// sides are this same program, started again (see Register); the others are in C, C++ and Python.
package side

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Pin says where the two processes of a figure run: what a wake-up costs depends on nothing so much.
type Pin string

const (
	Alone Pin = ""     // there is one process
	Same  Pin = "same" // both on CPU 0
	Diff  Pin = "diff" // one on CPU 0, one on CPU 1
	Free  Pin = "free" // where the scheduler puts them
)

// CPUs returns those of the process that measures and of its partner; -1 is any.
func (p Pin) CPUs() (lead, partner int) {
	switch p {
	case Same:
		return 0, 0
	case Diff:
		return 0, 1
	}
	return -1, -1
}

// Side measures one thing in one way.
type Side interface {
	// Round measures once. What the numbers are is the figure's affair.
	Round(ctx context.Context) ([]float64, error)
	// Close ends it and whatever it started.
	Close() error
}

// patience is for one answer. No round takes long; who needs more time is stuck.
const patience = 120 * time.Second

// Program is a Side in another process.
type Program struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	errs  tail
	once  sync.Once
	err   error // of its end
}

// Start starts a program and waits until it is ready. It has a process group of its own, so that
// an interrupt from the terminal does not end it before it has cleaned up: it ends with its input.
func Start(ctx context.Context, cmd *exec.Cmd) (*Program, error) {
	p := &Program{cmd: cmd, lines: make(chan string, 16)}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &p.errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	}()
	line, err := p.answer(ctx)
	if err == nil && line != "ready" {
		err = fmt.Errorf("it says %q, not that it is ready", line)
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Round implements Side.
func (p *Program) Round(ctx context.Context) ([]float64, error) {
	if _, err := io.WriteString(p.in, "round\n"); err != nil {
		return nil, p.died(err)
	}
	line, err := p.answer(ctx)
	if err != nil {
		return nil, err
	}
	var numbers []float64
	for _, f := range strings.Fields(line) {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil, fmt.Errorf("it says %q: not a number", line)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func (p *Program) answer(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		if text, is := strings.CutPrefix(line, "error "); is {
			return "", errors.New(text)
		}
		if !ok {
			return "", p.died(io.EOF)
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-time.After(patience):
		return "", fmt.Errorf("no answer in %v", patience)
	}
}

// died waits for the end of a program that says nothing any more, so that all that it wrote is there.
func (p *Program) died(err error) error {
	if e := p.Close(); e != nil {
		err = e
	}
	if text := p.errs.String(); text != "" {
		return fmt.Errorf("it ended: %w: %s", err, text)
	}
	return fmt.Errorf("it ended: %w", err)
}

// Close ends the program's input and, if that does not end it, the program and its process group. Twice is harmless.
func (p *Program) Close() error {
	p.once.Do(func() {
		p.in.Close()
		group := p.cmd.Process.Pid
		timer := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
		defer timer.Stop()
		for range p.lines { // Wait closes the pipe under a reader
		}
		p.err = p.cmd.Wait()
	})
	return p.err
}

// Pid returns the process's.
func (p *Program) Pid() int { return p.cmd.Process.Pid }

// tail keeps the last line that a process wrote to its standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b); n > 2000 {
		t.b = t.b[n-2000:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return lines[len(lines)-1]
}

// Self returns the path of this program, by which it can be started again.
func Self() string {
	if exe, err := os.Executable(); err == nil {
		return exe
	}
	return "/proc/self/exe"
}

// Prefix begins the names of all objects that sides make, and that are not in a folder of the bench's: what a
// side that was killed has left is found by it. The bench's process id is in it, handed on by the environment.
func Prefix() string {
	bench := os.Getenv(benchVariable)
	if bench == "" {
		bench = strconv.Itoa(os.Getpid())
		os.Setenv(benchVariable, bench)
	}
	return "godsm-bench-" + bench + "-"
}

const benchVariable = "GODSM_BENCH"
