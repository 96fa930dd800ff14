//go:build linux

package crashtest

import "github.com/godsm/godsm/dsm"

// supervisorScenarios are of supervisors: starts and stops, deaths that they find, generations that they begin.
var supervisorScenarios = []scenario{
	{name: "keeper of pins", backends: []string{"kept"}, play: func(w *world) {
		w.fall("supervise", "start")
		p := w.helper("session", "open", "create 9000")
		p.Send("pin") // waits for the keeper
		w.do("", func() bool { return len(p.Lines()) > 0 })
		p.Kill()
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

	{name: "supervisor that can't begin", settings: []string{"min_dynamic_shared_memory=256kB"},
		fault: "filemap/mmap#2=ENOMEM,sysv/shmat#2=ENOMEM", play: func(w *world) {
			w.fall("supervise")
			w.do("start", nil)
		}},

	{name: "clean", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.dieHolding()
		p.Kill()
		w.fall("supervise")
		w.do("clean", nil)
	}},
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
