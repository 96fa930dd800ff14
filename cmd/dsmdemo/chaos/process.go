package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// process is a worker or the supervisor.
type process struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	says   *bufio.Scanner

	mu      sync.Mutex
	killed  bool // by the monkey
	stopped bool // by the monkey, and not continued
	touched time.Time
	said    chan report   // a worker's word at rest
	ended   chan struct{} // closed when it has been waited for, with err
	err     error
}

func start(exe string, log io.Writer, args ...string) (*process, error) {
	cmd := exec.Command(exe, args...)
	cmd.Stderr = log
	aside(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, orders: in, says: bufio.NewScanner(out), touched: time.Now(),
		said: make(chan report, 1), ended: make(chan struct{})}
	p.says.Buffer(nil, 1<<20)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// hear fills v from the next line that the process says.
func (p *process) hear(v any) error {
	if !p.says.Scan() {
		return errors.New("it ended without a word")
	}
	return json.Unmarshal(p.says.Bytes(), v)
}

// wait waits for the end, after the last word was heard.
func (p *process) wait() error {
	p.err = p.cmd.Wait()
	close(p.ended)
	return p.err
}

func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill()
}

func (p *process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

func (p *process) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.freeze()
}

func (p *process) cont() {
	p.thaw()
	p.mu.Lock()
	p.stopped, p.touched = false, time.Now()
	p.mu.Unlock()
}

// suspended says whether the process is stopped, and since when it is not.
func (p *process) suspended() (bool, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped, p.touched
}

// startSupervisor starts a supervisor and waits until it is ready.
func (r *run) startSupervisor(where ...string) (*process, string, error) {
	p, err := start(r.Exe, r.Log, append(append([]string{"supervise", "--json", "--lifeline"}, where...), r.Flags...)...)
	if err != nil {
		return nil, "", err
	}
	slow := time.AfterFunc(tooLong, func() { r.stuckBecause("the supervisor %d is not ready after %v", p.pid(), tooLong) })
	defer slow.Stop()
	var ready struct{ Dir string }
	if err := p.hear(&ready); err != nil {
		return nil, "", fmt.Errorf("the supervisor: %w (%v)", err, p.wait())
	}
	go func() {
		for p.says.Scan() {
		}
		if err := p.wait(); !p.wasKilled() && !r.stopping.Load() {
			r.fail(fmt.Errorf("the supervisor ended: %v", err))
		}
	}()
	return p, ready.Dir, nil
}

// man keeps a desk manned until the end: whoever dies or quits there has a successor.
func (r *run) man(desk int) {
	defer r.manned.Done()
	for life := 1; !r.resting.Load(); life++ {
		args := append([]string{"crash-worker", "--dir", r.dir, "--desk", strconv.Itoa(desk), "--life", strconv.Itoa(life),
			"--seed", strconv.FormatUint(r.Seed, 10), "--sabotage", r.Sabotage}, r.Flags...)
		p, err := start(r.Exe, r.Log, args...)
		if err != nil {
			r.fail(fmt.Errorf("a worker can't be started: %w", err))
			return
		}
		r.desks[desk].Store(p)
		if r.resting.Load() { // perhaps too late to be asked
			p.kill()
		}
		var says report
		if p.hear(&says) == nil {
			p.said <- says
		}
		for p.says.Scan() {
		}
		err = p.wait()
		r.desks[desk].CompareAndSwap(p, nil)
		if err != nil && !p.wasKilled() {
			r.fail(fmt.Errorf("worker %d ended: %v", p.pid(), err))
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// end of a supervisor in order.
func (p *process) stopSupervisor() error {
	p.orders.Close()
	<-p.ended
	return p.err
}
