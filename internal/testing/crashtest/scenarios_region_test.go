//go:build linux

package crashtest

import "golang.org/x/sys/unix"

// regionScenarios are of instances that carve segments from a reserved region.
var regionScenarios = []scenario{
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
}
