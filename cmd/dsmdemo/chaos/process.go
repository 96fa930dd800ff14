package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/godsm/godsm/cmd/dsmdemo/child"
)

// process is a worker or the supervisor.
type process struct {
	*child.Child

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
	ownGroup(cmd)
	c, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	return &process{Child: c, touched: time.Now(), said: make(chan report, 1), ended: make(chan struct{})}, nil
}

// hear fills v from the next line that the process says.
func (p *process) hear(v any) error {
	if !p.Says.Scan() {
		return errors.New("the process ended before it wrote a line")
	}
	return json.Unmarshal(p.Says.Bytes(), v)
}

// wait waits for the end, after the last word was heard.
func (p *process) wait() error {
	p.err = p.Wait()
	close(p.ended)
	return p.err
}

func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.Process.Kill()
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

// suspended reports whether the process is stopped, and since when it is not.
func (p *process) suspended() (bool, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped, p.touched
}

// startSupervisor starts a supervisor and waits until it is ready.
func (r *run) startSupervisor(where ...string) (*process, string, error) {
	args := slices.Concat([]string{"supervise", "--json", "--lifeline"}, where, r.Flags)
	p, err := start(r.Exe, r.Log, args...)
	if err != nil {
		return nil, "", err
	}
	slow := time.AfterFunc(tooLong, func() {
		r.stuckBecause("the supervisor %d is not ready after %v", p.Pid(), tooLong)
	})
	defer slow.Stop()
	var ready struct{ Dir string }
	if err := p.hear(&ready); err != nil {
		return nil, "", fmt.Errorf("the supervisor: %w (%v)", err, p.wait())
	}
	go func() {
		for p.Says.Scan() {
		}
		if err := p.wait(); !p.wasKilled() && !r.stopping.Load() {
			r.fail(fmt.Errorf("the supervisor ended: %v", err))
		}
	}()
	return p, ready.Dir, nil
}

// man keeps a desk manned until the end: it starts a successor for each process that dies or quits there.
func (r *run) man(desk int) {
	defer r.manned.Done()
	for life := 1; !r.resting.Load(); life++ {
		args := append([]string{"crash-worker", "--dir", r.dir,
			"--desk", strconv.Itoa(desk), "--life", strconv.Itoa(life),
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
		for p.Says.Scan() {
		}
		err = p.wait()
		r.desks[desk].CompareAndSwap(p, nil)
		if err != nil && !p.wasKilled() {
			r.fail(fmt.Errorf("worker %d ended: %v", p.Pid(), err))
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// stopSupervisor ends a supervisor in order.
func (p *process) stopSupervisor() error {
	p.Orders.Close()
	<-p.ended
	return p.err
}
