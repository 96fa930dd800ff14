//go:build linux

package crashtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// world is one instance with those who live in it: a supervisor, in this process or a helper's,
// the survivor, a session of this process, and the victim.
type world struct {
	t        *testing.T
	dir      string
	settings []string
	plan     string // for the victim
	how      string // see ways
	env      []string
	strace   *tracer             // instead of a plan; nil if there is none
	answers  []string            // of the victim
	refused  bool                // the victim could not begin
	original string              // the directory that dir is a copy of,
	holders  []*proctest.Process // who lives in it,
	foreign  []uuid.UUID         // its lives,
	objects  int                 // and how many objects it has in the system

	sup      *supervisor.Supervisor // of this process; nil while there is none
	survivor *dsm.Session           // nil if there is none
	shared   *dsm.Segment           // the survivor's
	victim   *proctest.Process
	dead     bool
}

func newWorld(t *testing.T, backend string, settings ...string) *world {
	w := &world{
		t: t, dir: instancetest.TempDir(t),
		settings: append([]string{"dynamic_shared_memory_type=" + backend}, settings...),
	}
	watchOver(w.dir)
	t.Cleanup(func() {
		if w.sup != nil {
			_ = w.sup.Stop()
		}
		if t.Failed() {
			tidy(w.dir)
		}
	})
	return w
}

// harmless reports whether the victim is to live and to succeed.
func (w *world) harmless() bool { return w.plan == "" && w.strace == nil }

func (w *world) config() dsm.Config { return config(w.dir, w.settings) }

// supervise starts this process's supervisor.
func (w *world) supervise() {
	w.t.Helper()
	cfg := w.config()
	cfg.Logger = instancetest.Logger(w.t)
	s, err := supervisor.Start(ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sup = s
}

// survive opens the survivor, with a segment that others attach.
func (w *world) survive() {
	w.t.Helper()
	s, err := dsm.Open(ctx, w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	w.survivor = s
	if w.shared, err = s.Create(ctx, s.Owner(), 50_000); err != nil {
		w.t.Fatal(err)
	}
	fill(w.shared)
}

// helper starts a process that is no victim. Commands are told and waited for.
func (w *world) helper(actor string, commands ...string) *proctest.Process {
	w.t.Helper()
	cmd := proctest.Command(actor, append([]string{w.dir}, w.settings...)...)
	cmd.Env = append(cmd.Env, w.env...)
	p := proctest.Run(w.t, cmd)
	for _, c := range commands {
		tell(p, c)
	}
	return p
}

func tell(p *proctest.Process, c string) {
	p.Send("%s", c)
	p.Expect("ok " + strings.Fields(c)[0])
}

// stuck starts a session that holds segments and, in a build with failpoints, has stopped at one.
// If the victim, its supervisor, has died meanwhile and left nothing to join, so be it.
func (w *world) stuck(at string) *proctest.Process {
	w.t.Helper()
	p := w.helper("session")
	for _, c := range []string{"open", "create 9000", "pin", "create 8000"} {
		p.Send("%s", c)
		if w.victim != nil {
			w.do("", func() bool { return len(p.Lines()) > 0 })
		}
		if line, _ := p.Line(); !strings.HasPrefix(line, "ok ") {
			if c != "open" || w.victim == nil || !w.dead {
				w.t.Fatalf("a session says %q: %s", line, p.Stderr())
			}
			return p
		}
	}
	if arm == nil {
		return p
	}
	tell(p, "arm "+at+"=stop")
	p.Send("again")
	if out := wait(p, nil); out != "stopped" {
		w.t.Fatalf("a session that was to stop at %s is %s: %s", at, out, p.Stderr())
	}
	return p
}

// fall starts the victim; commands are told and waited for before it is armed; strace comes with the first thing to do.
func (w *world) fall(actor string, commands ...string) {
	w.t.Helper()
	w.victim = w.helper(actor, commands...)
	if w.plan != "" {
		tell(w.victim, "arm "+w.plan)
	}
}

// do tells the victim a command and waits until it has done it, or is dead. Until, if there is one, ends the wait too.
func (w *world) do(command string, until func() bool) {
	w.t.Helper()
	if w.dead || w.refused {
		return
	}
	if w.strace != nil && w.strace.cmd == nil {
		w.strace.attach(w.t, w.victim)
	}
	if command != "" {
		w.victim.TrySend("%s", command)
	}
	for {
		switch out := wait(w.victim, until); out {
		case "dead":
			w.dead = true
			w.endOrphans()
			w.victim.Kill() // reap it
			if w.harmless() {
				w.t.Fatalf("the victim died at %q though nobody wanted it to: %s", command, w.victim.Stderr())
			}
			return
		case "stopped":
			w.think()
			for _, pid := range stoppedIn(w.victim.Pid) {
				w.resume(pid)
			}
		case "":
			return
		default:
			name, _, _ := strings.Cut(command, " ")
			w.answers = append(w.answers, out)
			if out == "ok "+name || command == "" && strings.HasPrefix(out, "ok ") {
				return
			}
			if out == silent {
				_ = unix.Kill(w.victim.Pid, unix.SIGQUIT) // so that it says where it hangs
				instancetest.Eventually(w.t, "the victim has said where it hangs", func() bool {
					return exited(w.victim.Pid)
				})
				w.t.Fatalf("the victim does not do %q: %s", command, w.victim.Stderr())
			}
			// A victim that is held up, or refused by the system, may be refused by others later; it may not be wrong.
			if w.harmless() || strings.Contains(out, "wrong bytes") || strings.Contains(out, "corrupt") {
				w.t.Fatalf("the victim says %q: %s", out, w.victim.Stderr())
			}
			if strings.HasPrefix(out, "error "+name) {
				w.refused = name == "open" || name == "start"
				return
			}
		}
	}
}

// endOrphans kills, from now on, what a dead victim has started and what stops at the victim's point: no other process can.
func (w *world) endOrphans() {
	dir, over := w.dir, make(chan struct{})
	var ended sync.WaitGroup
	w.t.Cleanup(func() { close(over); ended.Wait() })
	ended.Go(func() {
		for {
			list, _ := filepath.Glob("/proc/[0-9]*/environ")
			for _, path := range list {
				env, _ := os.ReadFile(path)
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				if bytes.Contains(env, []byte(dir)) && stopped(pid) {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

// resume continues a stopped process, or kills it.
func (w *world) resume(pid int) {
	if w.how == "stop-go" {
		_ = unix.Kill(pid, unix.SIGCONT)
		return
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// wait waits until a process says something, which it returns, or is dead or stopped, or until
// something else is so: "".
func wait(p *proctest.Process, until func() bool) string {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(500 * time.Microsecond) {
		select {
		case line, ok := <-p.Lines():
			if ok {
				return line
			}
			p.Kill()
			return "dead"
		default:
		}
		if exited(p.Pid) {
			select {
			case line, ok := <-p.Lines():
				if ok {
					return line
				}
			case <-time.After(time.Second): // a worker of its own keeps the pipe open: it is stopped, at the same point
			}
			return "dead"
		}
		if len(stoppedIn(p.Pid)) > 0 {
			return "stopped"
		}
		if until != nil && until() {
			return ""
		}
	}
	return silent
}

const silent = "silent for a minute"

// exited reports whether a child has ended; it stays to be waited for.
func exited(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

// stoppedIn lists the stopped ones of a process and its children.
func stoppedIn(pid int) (list []int) {
	var children []byte
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		children = append(children, b...)
	}
	for _, f := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
		if n, _ := strconv.Atoi(f); stopped(n) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// stopped reports whether a process is stopped by a signal; strace stops it at each call, which is another state.
func stopped(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T"))
}

// think is what others do while the victim stands still: they try, for a while; all may be refused, none may go wrong.
func (w *world) think() {
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if s := w.survivor; s != nil {
		if g, err := s.Create(short, s.Owner(), 2000); err == nil {
			go g.Detach() // may wait for a second
		}
	}
	_, _ = dsm.Inspect(short, w.config())
	time.Sleep(20 * time.Millisecond) // long enough for the supervisor to hear and to ask
}
