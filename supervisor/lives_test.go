//go:build linux

package supervisor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// place is what becomes of a directory between two starts. It returns where the second start is.
type placing struct {
	name string
	do   func(t *testing.T, dir string) string
	copy bool // the first directory stays as well
}

var placings = []placing{
	{name: "same", do: func(_ *testing.T, dir string) string { return dir }},
	{name: "copied", copy: true, do: func(t *testing.T, dir string) string {
		to := filepath.Join(instancetest.TempDir(t), "copy")
		if out, err := exec.Command("cp", "-a", dir, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return to
	}},
	{name: "moved", do: func(t *testing.T, dir string) string {
		to := filepath.Join(instancetest.TempDir(t), "moved")
		if err := os.Rename(dir, to); err != nil {
			t.Fatal(err)
		}
		return to
	}},
	{name: "recreated", copy: true, do: func(t *testing.T, dir string) string {
		if err := errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir + ".away") })
		return dir
	}},
}

// TestLives is the table of what becomes of an instance whose directory is copied, moved or made anew, with its
// processes alive, its sessions alone alive, or all dead: what is in use stays, what is dead goes, nothing is left.
func TestLives(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, p := range placings {
			for _, who := range []string{"alive", "sessions only", "dead"} {
				if p.name != "copied" && who == "alive" {
					continue // the same directory is locked; moved ones are TestDirectoryIsMoved's
				}
				t.Run(p.name+"/"+who, func(t *testing.T) {
					t.Parallel()
					lives(t, backend, p, who)
				})
			}
		}
	})
}

func lives(t *testing.T, backend string, p placing, who string) {
	dir := filepath.Join(instancetest.TempDir(t), "instance")
	sup := proctest.Start(t, "supervise", dir, "dynamic_shared_memory_type", backend)
	sup.Expect("ready ")
	first := env{t, dir}
	a := first.session()
	h := first.create(a, 100, 5)
	a.Send("pin %s", h)
	a.Expect("pinned")
	life := instancetest.Life(t, dir)
	if who != "alive" {
		sup.Kill()
	}
	if who == "dead" {
		a.Kill()
	}
	where := p.do(t, dir)
	homes := []string{filepath.Join(dir, "mmap"), filepath.Join(dir+".away", "mmap")}
	if !p.copy {
		homes = []string{filepath.Join(where, "mmap")}
	}
	old := func() int { return len(objectlist.Objects([]uuid.UUID{life}, homes...)) }

	b := proctest.Start(t, "supervise", where, "dynamic_shared_memory_type", backend)
	generation := b.Expect("ready ")
	adopted := who == "sessions only" && !p.copy
	if adopted != (instancetest.Life(t, where) == life) {
		t.Errorf("generation %s, life %v of %v", generation, instancetest.Life(t, where), life)
	}
	mine := backend == "mmap" && p.name == "copied" // the copy has the copies of the files
	switch n := old(); {
	case who != "dead" && n != 6:
		t.Errorf("%d of the 6 objects that are in use are left", n)
	case who == "dead" && !(mine || p.name == "recreated") && n != 0:
		t.Errorf("%d objects of the dead are left", n)
	case who == "dead" && p.name == "recreated" && n != 6: // no backend lists them
		t.Errorf("%d objects of a life that the directory does not know are left", n)
	}
	if who != "dead" {
		check(a)
	}
	if where != dir || p.copy {
		if left := objectlist.Objects([]uuid.UUID{life}, filepath.Join(where, "mmap")); mine && slices.ContainsFunc(left,
			func(path string) bool { return strings.HasPrefix(path, where) }) {
			t.Errorf("copies are left: %v", left)
		}
	}
	noErr(t, b.Close())
	if adopted {
		if n := old(); n != 0 {
			t.Errorf("%d objects are left after the stop", n)
		}
		a.Kill()
		return
	}
	a.Kill()
	sup.Kill()

	// The first directory's next start removes what is its own; of one that is gone for good clean --orphans does.
	switch {
	case p.name == "recreated" && backend != "mmap":
		n := 0
		instancetest.Eventually(t, "clean --orphans removes all 6 objects", func() bool { // another's look has them open
			for _, o := range instance.Orphans(ctx) {
				if o.Life == life {
					removed, err := o.Remove(ctx)
					noErr(t, err)
					n += removed
				}
			}
			return n == 6
		})
	case p.name == "copied":
		_, err := instance.Clean(ctx, dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
		noErr(t, err)
	}
	if n := old(); n != 0 && !(p.name == "recreated" && backend == "mmap") { // there they went with the directory
		t.Errorf("%d objects are left in the end", n)
	}
	if left := objectlist.Objects([]uuid.UUID{instancetest.Life(t, where)}, filepath.Join(where, "mmap")); len(left) > 0 {
		t.Errorf("left of the second: %v", left)
	}
}

// TestDirectoryIsMoved: a directory is moved away under its running supervisor, and another instance starts in its
// place. The first serves its sessions to their end, writes nothing there, and ends with an error.
func TestDirectoryIsMoved(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		dir := filepath.Join(instancetest.TempDir(t), "instance")
		cfg := config(dir, []string{"dynamic_shared_memory_type", backend, "on_crash", "restart"})
		cfg.Logger = instancetest.Logger(t)
		s, err := supervisor.Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		e := env{t, dir}
		a, victim := e.session(), e.session()
		e.create(a, 100, 5)
		e.create(victim, 100, 5)
		life := instancetest.Life(t, dir)
		away := dir + ".away"
		must(t, os.Rename(dir, away))
		two, _ := e.supervise("dynamic_shared_memory_type", backend)
		c := e.session()
		e.create(c, 100, 3)
		second := instancetest.Life(t, dir)
		victim.Kill()
		instancetest.Eventually(t, "the dead one is reclaimed", func() bool {
			return len(objectlist.Objects([]uuid.UUID{life}, filepath.Join(away, "mmap"))) == 6
		})
		check(a)
		e.create(a, 100, 1) // it works on, in the directory that it is in
		if n := len(objectlist.Objects([]uuid.UUID{life}, filepath.Join(away, "mmap"))); n != 7 {
			t.Errorf("%d objects, want 7", n)
		}
		j, err := dsm.Open(ctx, dsm.Config{Dir: away}) // by the new path it can be joined
		if err != nil {
			t.Errorf("Open of the moved one: %v", err)
		} else {
			noErr(t, j.Close())
		}
		a.Send("close")
		a.Expect("closed")
		<-s.Done()
		if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "moved or removed") {
			t.Errorf("Stop = %v, want it to say what has happened", err)
		}
		if left := objectlist.Objects([]uuid.UUID{life}, filepath.Join(away, "mmap"), filepath.Join(dir, "mmap")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		check(c)
		if instancetest.Life(t, dir) != second {
			t.Error("the first has written over the second's record")
		}
		if r := e.report(); len(r.Segments) != 3 || len(r.Sessions) != 1 {
			t.Errorf("the second: %+v", r.Status)
		}
		noErr(t, two.Close())
	})
}

// reseal writes a file of the directory with a change to its record.
func reseal(t *testing.T, dir string, change func(r map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "instance")
	b, err := os.ReadFile(path)
	must(t, err)
	r := map[string]any{}
	must(t, json.Unmarshal(b[:strings.LastIndex(string(b), "\ncrc32 ")], &r))
	change(r)
	b, err = json.MarshalIndent(r, "", "  ")
	must(t, err)
	must(t, os.WriteFile(path, fmt.Appendf(b, "\ncrc32 %08x\n", crc32.ChecksumIEEE(b)), 0o600))
}

// TestOtherVersion: an instance of another layout version is named at once, to all; a start is refused while its
// sessions live, unless on_other_version says otherwise, and removes all of it when they have ended.
func TestOtherVersion(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, layout := range []int{3, 99} {
			t.Run(fmt.Sprint(layout), func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				sup, _ := e.supervise("dynamic_shared_memory_type", backend)
				a := e.session()
				e.create(a, 100, 5)
				sup.Kill()
				must(t, os.Remove(filepath.Join(e.dir, "lives")))
				reseal(t, e.dir, func(r map[string]any) { r["layout"] = layout })
				names := func(what string, err error) {
					t.Helper()
					if !errors.Is(err, dsm.ErrVersion) || !strings.Contains(err.Error(), fmt.Sprint("version ", layout)) ||
						!strings.Contains(err.Error(), fmt.Sprintf("which has version %d", control.LayoutVersion)) {
						t.Errorf("%s = %v, want ErrVersion", what, err)
					}
				}
				_, err := dsm.Open(ctx, dsm.Config{Dir: e.dir})
				names("Open", err)
				_, err = dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
				names("Inspect", err)
				_, err = instance.Clean(ctx, e.dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
				names("Clean", err)
				cfg := config(e.dir, []string{"dynamic_shared_memory_type", backend})
				_, err = supervisor.Start(ctx, cfg)
				names("Start", err)
				check(a)
				cfg.Settings["on_other_version"] = "fence"
				s, err := supervisor.Start(ctx, cfg)
				must(t, err)
				a.Send("done")
				a.Expect("error the instance has stopped or begun a new generation")
				check(a)
				a.Send("close")
				a.Expect("closed")
				noErr(t, s.Stop())
				e.noneLeft()
			})
		}
	})
}

// TestLastLayout: what a dead instance of layout version 3 left is found by its directory's files and removed.
func TestLastLayout(t *testing.T) {
	for _, what := range []string{"start", "clean"} {
		t.Run(what, func(t *testing.T) {
			dir, id := instancetest.TempDir(t), uuid.New()
			boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
			must(t, err)
			var st syscall.Stat_t
			must(t, syscall.Stat(dir, &st))
			for name, text := range lastLayout(id, strings.TrimSpace(string(boot)), uint64(st.Dev), st.Ino, dir) {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			objects := []uint64{dsmimpl.ControlHandle, 7 << 16, 9<<16 | 1}
			for _, h := range objects {
				path := "/dev/shm/" + dsmimpl.Object{Life: id, Generation: 2, Handle: h}.Name()
				must(t, os.WriteFile(path, []byte("version 3"), 0o600))
				t.Cleanup(func() { os.Remove(path) })
			}
			if what == "clean" {
				n, err := instance.Clean(ctx, dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
				if err != nil || n != 3 {
					t.Errorf("Clean = %d, %v", n, err)
				}
			} else if err := startAndStop(dir, "posix"); err != nil {
				t.Error(err)
			}
			if left := objectlist.Objects([]uuid.UUID{id}); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if _, err := os.Stat(filepath.Join(dir, "members.2")); err == nil {
				t.Error("the members file is left")
			}
		})
	}
}

// lastLayout are the files of a directory as version 3 wrote them.
func lastLayout(id uuid.UUID, boot string, dev, ino uint64, dir string) map[string]string {
	seal := func(text string) string {
		return fmt.Sprintf("%s\ncrc32 %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
	}
	return map[string]string{
		"members.2": "",
		"id": seal(fmt.Sprintf(`{
  "instance": "%s",
  "dir": {
    "Dev": %d,
    "Ino": %d
  },
  "boot": "%s"
}`, id, dev, ino, boot)),
		"instance": seal(fmt.Sprintf(`{
  "instance": "%s",
  "generation": 2,
  "backend": "posix",
  "control": "/dev/shm/x",
  "mmap_directory": "%s/mmap",
  "private": false,
  "settings": {
    "max_processes": "256"
  },
  "supervisor_pid": 77,
  "boot": "%s",
  "dir": {
    "Dev": %d,
    "Ino": %d
  }
}`, id, dir, boot, dev, ino)),
	}
}

// TestCleanByForce removes what living sessions use too, and says first what that is; they are cut off, and keep their
// bytes.
func TestCleanByForce(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		e := newEnv(t)
		sup, _ := e.supervise("dynamic_shared_memory_type", backend)
		a := e.session()
		e.create(a, 100, 5)
		force := func() (removed int, told []string, err error) {
			removed, err = instance.CleanByForce(ctx, e.dir, instance.Backends{}, instance.Who("test"), zerolog.Nop(),
				func(list []instance.Doom) {
					for _, d := range list {
						told = append(told, d.Objects...)
					}
					if n := e.objects(); n != 5 {
						t.Errorf("%d objects when it is told what goes", n)
					}
				})
			return removed, told, err
		}
		if _, _, err := force(); !errors.Is(err, dsm.ErrInUse) {
			t.Errorf("under a running supervisor: %v", err)
		}
		sup.Kill()
		removed, told, err := force()
		if err != nil || removed != 6 || len(told) != 6 {
			t.Errorf("CleanByForce = %d, %v; told %v", removed, err, told)
		}
		e.noneLeft()
		a.Send("done")
		a.Expect("error the instance has stopped")
		check(a)
		a.Kill()
		_, err = instance.Clean(ctx, e.dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
		noErr(t, err)
		if names, _ := filepath.Glob(filepath.Join(e.dir, "members.*")); len(names) > 0 {
			t.Errorf("left in the directory: %v", names)
		}
	})
}
