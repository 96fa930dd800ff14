//go:build linux

package crashtest

import (
	"path/filepath"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"golang.org/x/sys/unix"
)

// sessionScenarios are of sessions: what they do, what the system refuses them, what ends while they are at work.
var sessionScenarios = []scenario{
	{name: "session", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
		w.do("close", nil)
	}},

	{name: "session with a keeper of pins", backends: []string{"kept"}, play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
	}},

	{name: "session whose segment can't be removed", fault: "FAULT=EACCES", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session", "open")
		w.do("again", nil)
		w.do("close", nil)
	}},

	{name: "session whose memory can't be unmapped", fault: "filemap/munmap=ENOMEM,sysv/shmdt=ENOMEM",
		play: func(w *world) {
			w.supervise()
			w.survive()
			w.fall("session", "open")
			w.do("again", nil)
			w.do("close", nil)
		}},

	{name: "session whose memory can't be mapped",
		fault: "filemap/mmap=ENOMEM,filemap/mmap#3=ENOMEM,sysv/shmat=ENOMEM,sysv/shmat#3=ENOMEM", play: func(w *world) {
			w.supervise()
			w.survive()
			w.fall("session", "open")
			w.do("play "+w.shared.Handle().String(), nil)
			w.do("again", nil)
			w.do("close", nil)
		}},

	{name: "session in checked mode", settings: []string{"checked=on"}, play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
		w.do("close", nil)
	}},

	{name: "session that a lease outlives", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) {
			w.supervise()
			w.survive()
			w.fall("session", "open")
			w.do("lend", nil)
		}},

	{name: "session that a lease outside the region outlives", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session", "open")
		w.do("lend", nil)
	}},

	{name: "session whose memory can't be swapped", settings: []string{"min_dynamic_shared_memory=16kB"},
		fault: "filemap/swap=ENOMEM,filemap/swap#2=ENOMEM,filemap/swap#4=ENOMEM", play: func(w *world) {
			w.supervise()
			w.survive()
			w.fall("session", "open")
			w.do("play "+w.shared.Handle().String(), nil)
			w.do("close", nil)
		}},

	{name: "session in an instance that ends", play: func(w *world) {
		w.supervise()
		w.endAround("dsm/create/intended", "again", "open")
	}},

	{name: "session that joins an instance that ends", play: func(w *world) {
		w.supervise()
		w.endAround("control/join/used", "open")
	}},

	{name: "waiter for a lock whose holder goes on", play: func(w *world) { w.contend(unix.SIGCONT) }},
	{name: "waiter for a lock whose holder dies", play: func(w *world) { w.contend(unix.SIGKILL) }},

	{name: "waiter for a lock whose waits are refused", fault: "futex/wait=EINTR,futex/wait#2=ENOMEM",
		play: func(w *world) { w.contend(unix.SIGCONT) }},

	{name: "session among the dead, without a supervisor", play: func(w *world) {
		w.orphan()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
		w.do("close", nil)
	}},

	{name: "session that looks for the dead, without a supervisor", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.fall("session", "open")
		dead := w.stuck("dsm/create/made")
		p.Kill()
		dead.Kill()
		w.do("", func() bool { // it lists itself alone
			r, err := dsm.Inspect(ctx, w.config())
			return err == nil && len(r.Sessions) == 1
		})
	}},

	{name: "session that joins over a dead one", settings: []string{"max_processes=2"}, play: func(w *world) {
		w.orphan()
		w.fall("session")
		w.do("open", nil)
		w.do("close", nil)
	}},

	{name: "leader and workers", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session", "open")
		w.do("lead "+w.shared.Handle().String(), nil)
		w.do("close", nil)
	}},
}

// endAround stops the victim at a point of the command, ends the instance, and lets the victim go on.
func (w *world) endAround(point, command string, before ...string) {
	w.plan = point + "=stop," + w.plan
	w.fall("session", before...)
	w.victim.Send("%s", command)
	if w.dead = wait(w.victim, nil) == "dead"; w.dead {
		return
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.sup.Stop() }()
	instancetest.Eventually(w.t, "the instance is closing", func() bool {
		r, err := dsm.Inspect(ctx, w.config())
		return err != nil || r.Status.Closing
	})
	_ = unix.Kill(w.victim.Pid, unix.SIGCONT)
	w.do("", func() bool { return len(w.victim.Lines()) > 0 })
	if err := <-stopped; err != nil {
		w.t.Errorf("Stop: %v", err)
	}
	w.victim.Kill()
	w.sup = nil
}

// contend has the victim wait for the control lock, whose holder then gets the signal.
func (w *world) contend(s unix.Signal) {
	w.supervise()
	w.survive()
	_, trace, traced := strings.Cut(w.plan, "trace=")
	if !traced {
		trace = filepath.Join(instancetest.TempDir(w.t), "trace")
		w.plan += ",trace=" + trace
	}
	holder := w.stuck("control/create/referenced")
	w.fall("session")
	w.victim.Send("open")
	waiting := func() bool { return contains(trace, "shmsync/mutex/waiting") }
	if w.do("", waiting); w.how == "stop-go" && !waiting() {
		w.t.Fatal("the victim does not wait for the lock")
	}
	_ = unix.Kill(holder.Pid, s)
	w.do("", func() bool { return len(w.victim.Lines()) > 0 })
	holder.Kill()
	w.do("again", nil)
}
