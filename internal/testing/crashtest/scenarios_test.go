//go:build linux

package crashtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/osobjects"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// scenario is a piece of an instance's life with a victim in it.
type scenario struct {
	name     string
	settings []string
	backends []string // nil: those of the system
	fault    string   // a plan that always comes with the victim's; FAULT is the backend's removal
	play     func(w *world)
	check    func(w *world) // nil: world.check
}

var scenarios = []scenario{
	{name: "session", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
		w.do("close", nil)
	}},

	{name: "session with a reserved region", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) {
			w.supervise()
			w.survive()
			w.fall("session")
			w.do("open", nil)
			w.do("play "+w.shared.Handle().String(), nil)
			w.do("fresh", nil)
			w.do("close", nil)
		}},

	{name: "waiter for a lock whose holder dies carving", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) { w.contend(unix.SIGKILL) }},

	{name: "supervisor with a reserved region", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) {
			p := w.helper("supervise", "start")
			w.stuck("dsm/create/carved").Kill()
			p.Kill()
			w.fall("supervise")
			if w.do("start", nil); w.dead || w.refused {
				return
			}
			holder := w.helper("session", "open", "create 9000", "pin", "create 8000")
			holder.Send("watch")
			w.do("stop", nil)
			holder.Kill()
		}},

	{name: "supervisor that adopts a reserved region", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) {
			p := w.helper("supervise", "start")
			w.survive()
			p.Kill()
			w.stuck("control/carve/live").Kill()
			w.fall("supervise")
			w.do("start", nil)
		}},

	{name: "supervisor that reclaims in a reserved region", settings: []string{"min_dynamic_shared_memory=256kB"},
		play: func(w *world) {
			w.fall("supervise", "start")
			w.survive()
			for _, at := range []string{"control/publish/blank", "control/carve/taken"} { // the second holds the lock
				w.stuck(at).Kill()
				if w.do("", w.reclaimed); w.dead {
					return
				}
			}
		}},

	{name: "session with a keeper of pins", backends: []string{"kept"}, play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session")
		w.do("open", nil)
		w.do("play "+w.shared.Handle().String(), nil)
	}},

	{name: "keeper of pins", backends: []string{"kept"}, play: func(w *world) {
		w.fall("supervise", "start")
		p := w.helper("session", "open", "create 9000")
		p.Send("pin") // waits for the keeper
		w.do("", func() bool { return len(p.Lines()) > 0 })
		p.Kill()
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

	{name: "supervisor's start and stop", play: func(w *world) {
		w.fall("supervise")
		w.do("start", nil)
		w.do("stop", nil)
	}},

	{name: "supervisor that finds the dead", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.dieHolding()
		p.Kill()
		w.fall("supervise")
		w.do("start", nil)
		w.do("stop", nil)
	}},

	{name: "supervisor that finds no control segment", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.dieHolding()
		p.Kill()
		w.loseControl()
		w.fall("supervise")
		w.do("start", nil)
		w.do("stop", nil)
	}},

	{name: "supervisor that adopts", play: func(w *world) {
		w.orphan()
		w.fall("supervise")
		w.do("start", nil)
	}},

	{name: "supervisor that leaves", play: func(w *world) {
		w.fall("supervise", "start")
		w.survive()
		w.do("leave", nil)
	}},

	{name: "supervisor that leaves pins and no session", play: func(w *world) {
		holder := w.helper("supervise", "start")
		s := w.helper("session", "open", "create 9000", "pin")
		tell(s, "close")
		tell(holder, "leave")
		w.fall("supervise")
		w.do("start", nil)
		w.do("leave", nil)
	}, check: (*world).checkLeft},

	{name: "private supervisor that leaves no session", play: func(w *world) {
		w.private()
		w.fall("supervise", "alone")
		w.do("leave", nil)
	}, check: (*world).checkPrivate},

	{name: "supervisor that reclaims", play: func(w *world) {
		w.fall("supervise", "start")
		w.survive()
		for _, at := range []string{"dsm/create/made", "control/create/accounted"} { // the second holds the lock
			w.stuck(at).Kill()
			if w.do("", w.reclaimed); w.dead {
				return
			}
		}
	}},

	{name: "supervisor that begins again after a crash", settings: []string{"on_crash=restart"}, play: func(w *world) {
		w.fall("supervise", "start")
		for _, at := range []string{"dsm/create/made", "control/create/accounted"} { // the second holds the lock
			generation := w.generation()
			w.stuck(at).Kill()
			w.do("", func() bool { return w.generation() > generation })
			if w.dead {
				return
			}
		}
	}},

	{name: "supervisor that can't begin again at once", settings: []string{"on_crash=restart"},
		fault: "liveness/create=ENOSPC", play: func(w *world) {
			w.fall("supervise", "start")
			generation := w.generation()
			w.stuck("dsm/create/made").Kill()
			w.do("", func() bool { return w.generation() > generation })
		}},

	{name: "supervisor that stops", fault: "FAULT=EACCES", play: func(w *world) {
		w.fall("supervise", "start")
		p := w.helper("session", "open", "create 9000", "pin", "create 8000")
		p.Send("watch")
		w.do("stop", nil)
		p.Kill()
	}},

	{name: "supervisor that ends by force", play: func(w *world) {
		w.fall("supervise", "start")
		p := w.stuck("control/create/referenced") // it holds the lock
		w.do("stop", nil)
		p.Kill()
	}},

	{name: "supervisor whose control segment is removed", backends: []string{"posix", "mmap"}, play: func(w *world) {
		w.fall("supervise", "start")
		p := w.helper("session", "open", "create 9000", "pin", "create 8000")
		p.Send("watch")
		generation := w.generation()
		w.loseControl()
		w.do("", func() bool { return w.generation() > generation })
		p.Kill()
	}},

	{name: "supervisor whose members file is removed", play: func(w *world) {
		w.fall("supervise", "start")
		w.survive()
		w.loseMembers()
		w.do("", w.joinable)
	}},

	{name: "session whose members file is removed", play: func(w *world) {
		w.supervise()
		w.survive()
		w.fall("session", "open")
		w.loseMembers()
		w.do("", w.joinable)
	}},

	{name: "session that joins as the members file is removed", play: func(w *world) {
		w.supervise()
		w.survive()
		w.plan = "control/join/witness=stop," + w.plan
		w.fall("session")
		w.victim.Send("open")
		if w.dead = wait(w.victim, nil) == "dead"; w.dead {
			return
		}
		w.loseMembers()
		instancetest.Eventually(w.t, "newcomers can join", w.joinable)
		_ = unix.Kill(w.victim.Pid, unix.SIGCONT)
		w.do("", func() bool { return len(w.victim.Lines()) > 0 })
		w.do("again", nil)
	}},

	{name: "supervisor that can't begin", settings: []string{"min_dynamic_shared_memory=256kB"},
		fault: "filemap/mmap#2=ENOMEM,sysv/shmat#2=ENOMEM", play: func(w *world) {
			w.fall("supervise")
			w.do("start", nil)
		}},

	{name: "supervisor in a copied directory", play: func(w *world) { w.copied() }, check: (*world).checkCopied},
	{name: "supervisor in a copied directory without its small files", play: func(w *world) {
		w.copied("id", "instance")
	}, check: (*world).checkCopied},

	{name: "clean", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.dieHolding()
		p.Kill()
		w.fall("supervise")
		w.do("clean", nil)
	}},

	{name: "private instance", play: func(w *world) {
		w.private()
		w.fall("supervise")
		w.do("run", nil)
	}, check: (*world).checkPrivate},

	{name: "private instance that stops", play: func(w *world) {
		w.private()
		w.fall("supervise", "alone")
		w.do("stop", nil)
	}, check: (*world).checkPrivate},

	{name: "last session of a private instance", play: func(w *world) {
		w.private()
		p := w.helper("supervise")
		p.Send("private")
		dir, settings := w.dir, w.settings
		w.dir, w.settings = p.Expect("dir"), nil
		w.fall("session", "open", "create 9000")
		w.dir, w.settings = dir, settings
		p.Kill()
		w.do("close", nil)
	}, check: (*world).checkPrivate},

	{name: "next start after a private instance", play: func(w *world) {
		w.private()
		p := w.helper("supervise")
		p.Send("private")
		p.Expect("dir")
		p.Kill()
		w.fall("supervise")
		w.do("start", nil)
	}, check: func(w *world) { w.check(); w.checkPrivate() }},

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

// copied has the victim supervise a copy, without those files, of a directory in which an instance lives.
func (w *world) copied(without ...string) {
	sup := w.helper("supervise", "start")
	w.holders = []*proctest.Process{w.helper("session", "open", "create 9000", "pin", "create 8000"), sup}
	w.original, w.dir = w.dir, instancetest.TempDir(w.t)
	watchOver(w.dir)
	w.foreign = instancetest.Lives(w.t, w.original)
	w.objects = len(w.objectsIn(w.original))
	if out, err := exec.Command("cp", "-a", w.original+"/.", w.dir).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	for _, name := range without {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.fall("supervise")
	w.do("start", nil)
	w.do("stop", nil)
}

// checkCopied: the copy is an instance as any other, with nothing of the original's; the original has all that it had.
func (w *world) checkCopied() {
	w.check()
	if left, _ := os.ReadDir(filepath.Join(w.dir, "mmap")); len(left) > 0 {
		w.t.Errorf("left in the copy: %v", left)
	}
	if n := len(w.objectsIn(w.original)); n != w.objects {
		w.t.Errorf("the original has %d objects left, of %d", n, w.objects)
	}
	for _, p := range w.holders {
		p.Kill()
	}
	w.dir, w.sup = w.original, nil
	w.supervise()
	if err := w.sup.Stop(); err != nil {
		w.t.Errorf("Stop: %v", err)
	}
	w.nothing(w.dir)
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

// orphan makes an instance whose supervisor is dead: the survivor lives in it, and a dead
// session's row and segments stand.
func (w *world) orphan() {
	p := w.helper("supervise", "start")
	w.survive()
	p.Kill()
	w.dieHolding()
}

// dieHolding has a session die in the middle of a create, with segments in its hands.
func (w *world) dieHolding() { w.stuck("dsm/create/made").Kill() }

// reclaimed reports whether the books list no process but the survivor.
func (w *world) reclaimed() bool {
	r, err := dsm.Inspect(ctx, w.config())
	return err == nil && len(r.Sessions) == 1 && w.unrest(r) == ""
}

func (w *world) generation() uint64 {
	r, err := dsm.Inspect(ctx, w.config())
	if err != nil || !r.Status.Supervised { // of one that is just beginning no process can be a member
		return 0
	}
	return r.Status.Generation
}

// loseControl removes the control segment, as a process with rm or ipcrm would.
func (w *world) loseControl() {
	life := instancetest.Life(w.t, w.dir)
	control := dsmimpl.Object{Life: life, Generation: 1, Handle: dsmimpl.ControlHandle}
	for _, where := range osobjects.Objects([]uuid.UUID{life}, filepath.Join(w.dir, "mmap")) {
		if strings.HasSuffix(where, "/"+control.Name()) {
			_ = os.Remove(where)
		}
	}
}

// loseMembers removes the members file, as a cleaner would.
func (w *world) loseMembers() {
	names, _ := filepath.Glob(filepath.Join(w.dir, "members.*"))
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// joinable reports whether the books of the instance can be opened.
func (w *world) joinable() bool {
	_, err := dsm.Inspect(ctx, w.config())
	return err == nil
}

// private has helpers keep private instances in a place of the test's own.
func (w *world) private() { w.env = append(w.env, "XDG_STATE_HOME="+w.state()) }

func (w *world) state() string { return stateIn(w.dir) }

func stateIn(dir string) string { return filepath.Join(dir, "mmap", "state") }

// checkPrivate: what a dead private instance left is gone after the user's next start.
func (w *world) checkPrivate() {
	if w.victim != nil {
		w.victim.Kill()
	}
	parent := filepath.Join(w.state(), "dsm-private")
	ids := map[string][]uuid.UUID{}
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "id")); err == nil {
			ids[dir] = osobjects.Lives(dir)
		}
	}
	tell(w.helper("supervise"), "run")
	if entries, _ := os.ReadDir(parent); len(entries) > 0 {
		w.t.Errorf("%d private instances are left, %v", len(entries), entries)
	}
	for dir, lives := range ids {
		if left := osobjects.Objects(lives, filepath.Join(dir, "mmap")); len(left) > 0 {
			w.t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	}
}
