//go:build linux

package crashtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// lossScenarios are of instances whose files or objects another program has removed or copied.
var lossScenarios = []scenario{
	{name: "supervisor that finds no control segment", play: func(w *world) {
		p := w.helper("supervise", "start")
		w.dieHolding()
		p.Kill()
		w.loseControl()
		w.fall("supervise")
		w.do("start", nil)
		w.do("stop", nil)
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

	{name: "supervisor in a copied directory", play: func(w *world) { w.copied() }, check: (*world).checkCopied},

	{name: "supervisor in a copied directory without its small files", play: func(w *world) {
		w.copied("id", "instance")
	}, check: (*world).checkCopied},
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

// loseControl removes the control segment, as a process with rm or ipcrm would.
func (w *world) loseControl() {
	life := instancetest.Life(w.t, w.dir)
	control := dsmimpl.Object{Life: life, Generation: 1, Handle: dsmimpl.ControlHandle}
	for _, where := range objectlist.Objects([]uuid.UUID{life}, filepath.Join(w.dir, "mmap")) {
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
