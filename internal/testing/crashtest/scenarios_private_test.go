//go:build linux

package crashtest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/godsm/godsm/internal/objectlist"
	"github.com/google/uuid"
)

// privateScenarios are of private instances, which end with their last session.
var privateScenarios = []scenario{
	{name: "private supervisor that leaves no session", play: func(w *world) {
		w.private()
		w.fall("supervise", "alone")
		w.do("leave", nil)
	}, check: (*world).checkPrivate},

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
			ids[dir] = objectlist.KnownLives(dir)
		}
	}
	tell(w.helper("supervise"), "run")
	if entries, _ := os.ReadDir(parent); len(entries) > 0 {
		w.t.Errorf("%d private instances are left, %v", len(entries), entries)
	}
	for dir, lives := range ids {
		if left := objectlist.Objects(lives, filepath.Join(dir, "mmap")); len(left) > 0 {
			w.t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	}
}
