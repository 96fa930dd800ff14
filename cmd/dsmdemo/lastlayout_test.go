//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/google/uuid"
)

// lastLayout is the last commit whose control segment has layout version 3.
const lastLayout = "57e4124"

// buildLastLayout builds this command as it was at that commit. A tree without history, or a machine that can't build
// it, skips the test.
func buildLastLayout(t *testing.T) (exe string) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: it builds another program")
	}
	if out, err := exec.Command("git", "cat-file", "-e", lastLayout+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("git does not have the last commit of layout version 3: %v %s", err, out)
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "source.tar")
	for _, args := range [][]string{
		{"git", "archive", "-o", archive, lastLayout + ":"},
		{"tar", "-xf", archive, "-C", dir},
		{"go", "build", "-o", filepath.Join(dir, "last"), "./cmd/dsmdemo"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		if args[0] == "go" {
			cmd.Dir = dir
		} else {
			cmd.Dir = filepath.Join("..", "..")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%v: %v %s", args, err, out)
		}
	}
	return filepath.Join(dir, "last")
}

// shared is an instance of one program, with a pinned segment and one that a process holds.
type shared struct {
	place
	supervisor, holder *proctest.Process
	pinned             string
	objects            func() int
}

// share starts it, and takes the processes away that the state says.
func share(p place, backend, state string) shared {
	p.t.Helper()
	s := shared{place: p, supervisor: p.supervise("-c", "dynamic_shared_memory_type="+backend)}
	s.pinned = strings.TrimSpace(p.ok("create", "--pin", "pinned"))
	s.holder = p.start("create", "held")
	s.holder.Expect("")
	ids := []uuid.UUID{instancetest.ID(p.t, p.dir)} // objects of the last layout bear it
	if p.exe == "" {
		ids = instancetest.Lives(p.t, p.dir)
	}
	s.objects = func() int { return len(objectlist.Objects(ids, filepath.Join(p.dir, "mmap"))) }
	if n := s.objects(); n != 3 {
		p.t.Fatalf("%d objects, want a control segment and two more", n)
	}
	if state != "alive" {
		s.supervisor.Kill()
	}
	if state == "dead" {
		s.holder.Kill()
	}
	return s
}

// intact makes the test fail if an object is gone or the program can't use it any more.
func (s shared) intact(alive bool) {
	s.t.Helper()
	if n := s.objects(); n != 3 {
		s.t.Errorf("%d objects are left of 3", n)
	}
	if alive {
		if got := s.ok("read", s.pinned); got != "pinned" {
			s.t.Errorf("the segment holds %q", got)
		}
	}
}

// fenced waits for the holder to end because a new generation has begun.
func (s shared) fenced() {
	s.t.Helper()
	if status := proctest.ExitCode(s.holder.Wait()); status != 1 || !strings.Contains(s.holder.Stderr(), "begun a new generation") {
		s.t.Errorf("the holder: status %d, %s", status, s.holder.Stderr())
	}
}

// gone waits until none of its objects is left.
func (s shared) gone() {
	s.t.Helper()
	instancetest.Eventually(s.t, "its objects are gone", func() bool { return s.objects() == 0 })
}

// refused runs commands that must fail, all in one line that says the same.
func (p place) refused(says string, commands ...string) {
	p.t.Helper()
	for _, c := range commands {
		p.fails(1, says, strings.Fields(c)...)
	}
}

// TestLastLayoutBesideThisOne: the program of the last layout version and this one meet in a directory, in both
// directions. Each leaves the objects of the other alone while processes use them; this one says what is the matter.
func TestLastLayoutBesideThisOne(t *testing.T) {
	exe := buildLastLayout(t)
	versions := fmt.Sprintf("has layout version 3, from a program that is older than this one, which has version %d: "+
		"upgrade the program of", control.LayoutVersion)
	for _, backend := range []string{"posix", "sysv", "mmap"} {
		backend := "dynamic_shared_memory_type=" + backend
		for _, c := range []struct {
			name, state string
			meet        func(s shared, now, last place)
			last        bool // the instance is of the last layout
		}{
			{"last alive", "alive", func(s shared, now, _ place) {
				now.refused(versions, "ls", "ps", "status", "verify", "read "+s.pinned, "create --pin x")
				now.refused("has a supervisor already", "clean", "clean --force", "supervise -c on_other_version=fence")
				if out, _, status := now.run("", "doctor"); status != 1 || !strings.Contains(out, versions) {
					now.t.Errorf("doctor: status %d, %s", status, out)
				}
				s.intact(true)
			}, true},
			{"last without supervisor", "orphans", func(s shared, now, last place) {
				now.refused(versions, "ls", "read "+s.pinned, "create --pin x", "clean")
				now.refused("set on_other_version = fence", "supervise -c "+backend,
					"supervise -c on_other_version=refuse -c "+backend)
				s.intact(true)
				conf := filepath.Join(now.dir, "dsm.conf")
				if err := os.WriteFile(conf, []byte("on_other_version = fence\n"), 0o600); err != nil {
					now.t.Fatal(err)
				}
				now.supervise("-c", backend)
				s.fenced()
				s.gone()
				last.refused("", "ls", "clean", "supervise")
				now.ok("ls")
			}, true},
			{"last dead", "dead", func(s shared, now, _ place) {
				now.fails(3, "the last one was of another version, and has ended", "ls")
				now.refused("the last one was of another version, and has ended", "read "+s.pinned)
				s.intact(false)
				now.supervise("-c", backend)
				s.gone()
			}, true},
			{"last dead, cleaned", "dead", func(s shared, now, _ place) {
				if got := now.ok("clean"); got != "removed 3 objects\n" {
					now.t.Error(got)
				}
				s.gone()
				now.supervise("-c", backend)
				now.ok("ls")
			}, true},
			{"this alive", "alive", func(s shared, _, last place) {
				last.refused("no running instance", "ls", "status")
				last.refused("has a supervisor already", "clean", "supervise")
				s.intact(true)
			}, false},
			{"this without supervisor", "orphans", func(s shared, now, last place) {
				last.refused("no running instance", "ls")
				last.ok("clean")
				s.intact(true)
				other := last.supervise("-c", backend) // which sees no session there
				s.fenced()
				if n := s.objects(); n != 2 { // what the holder had is gone with it
					s.t.Errorf("%d objects are left of the control segment and what is pinned", n)
				}
				now.refused(versions, "ls")
				now.refused("has a supervisor already", "clean", "supervise")
				_ = other.Cmd.Process.Signal(os.Interrupt)
				_ = other.Wait()
				now.ok("clean")
				s.gone()
			}, false},
			{"this dead", "dead", func(s shared, now, last place) {
				other := last.supervise("-c", backend)
				s.intact(false)
				h := strings.TrimSpace(last.ok("create", "--pin", "of the last"))
				now.refused(versions, "ls")
				if got := last.ok("read", h); got != "of the last" {
					last.t.Errorf("it holds %q", got)
				}
				_ = other.Cmd.Process.Signal(os.Interrupt)
				_ = other.Wait()
				now.supervise("-c", backend)
				s.gone()
			}, false},
		} {
			t.Run(strings.TrimPrefix(backend, "dynamic_shared_memory_type=")+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				now := newPlace(t)
				last := now
				last.exe = exe
				p := now
				if c.last {
					p = last
				}
				c.meet(share(p, strings.TrimPrefix(backend, "dynamic_shared_memory_type="), c.state), now, last)
			})
		}
	}
}
