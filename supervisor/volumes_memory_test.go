//go:build linux

package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
)

// TestOtherMemory: one directory and two memories, as of two containers that share it: who can't see the memory of those
// that live is told so, and touches nothing. A mount that hides it and goes again costs nothing.
func TestOtherMemory(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	e := newEnv(t)
	sup := proctest.Start(t, "supervise", e.dir)
	sup.Expect("ready ")
	a := e.session()
	h := e.create(a, 100, 4)
	a.Send("pin %s", h)
	a.Expect("pinned")
	life := []uuid.UUID{instancetest.Life(t, e.dir)}
	hide := func() { must(t, syscall.Mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=50m")) }
	show := func() { must(t, syscall.Unmount("/dev/shm", 0)) }
	hide()
	j := proctest.Start(t, "session", e.dir)
	if says := j.Expect("error "); !strings.Contains(says, "a mount hides its memory") {
		t.Errorf("Open says %s", says)
	}
	sup.Kill()
	err := startAndStop(e.dir, "posix")
	if err == nil || !strings.Contains(err.Error(), "/dev/shm on device") {
		t.Errorf("Start = %v, want it to name both memories", err)
	}
	_, err = instance.Clean(ctx, e.dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "/dev/shm on device") {
		t.Errorf("Clean = %v", err)
	}
	show()
	if n := len(objectlist.Objects(life)); n != 5 {
		t.Errorf("%d of 5 objects are left", n)
	}
	sup = proctest.Start(t, "supervise", e.dir)
	if g := sup.Expect("ready "); g != "1" {
		t.Errorf("generation %s: it was not adopted", g)
	}
	check(a)

	// All dead, and the memory out of sight: it stays listed, and the next start that sees it removes it.
	sup.Kill()
	a.Kill()
	hide()
	noErr(t, startAndStop(e.dir, "posix"))
	show()
	if n := len(objectlist.Objects(life)); n != 5 {
		t.Errorf("%d of 5 objects are left", n)
	}
	noErr(t, startAndStop(e.dir, "posix"))
	if left := objectlist.Objects(life); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUnmountedFiles: files of an external mmap_directory outlive the machine. A start that sees them no more, since
// their volume is not mounted yet, keeps their life listed, and the first one that sees them again removes them.
func TestUnmountedFiles(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	e := newEnv(t)
	volume, at := instancetest.TempDir(t), instancetest.TempDir(t)
	must(t, syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=50m,mode=0700"))
	defer func() { _ = syscall.Unmount(volume, syscall.MNT_DETACH) }()
	show := func() { must(t, syscall.Mount(volume, at, "", syscall.MS_BIND, "")) }
	hide := func() { must(t, syscall.Unmount(at, 0)) }
	files := func() int {
		list, err := os.ReadDir(filepath.Join(volume, "files"))
		must(t, err)
		return len(list)
	}
	pairs := []string{"dynamic_shared_memory_type", "mmap", "mmap_directory", filepath.Join(at, "files")}
	startAndStop := func() {
		t.Helper()
		s, err := supervisor.Start(ctx, config(e.dir, pairs))
		if err == nil {
			err = s.Stop()
		}
		noErr(t, err)
	}
	show()
	sup := proctest.Start(t, "supervise", append([]string{e.dir}, pairs...)...)
	sup.Expect("ready ")
	a := e.session()
	e.create(a, 100, 3)
	sup.Kill()
	a.Kill()
	hide()
	if n := files(); n != 4 {
		t.Fatalf("%d files, want 4", n)
	}
	anotherBoot(t)
	for range 2 {
		startAndStop()
		if n := files(); n != 4 {
			t.Errorf("%d files are left, of 4", n)
		}
	}
	show()
	startAndStop()
	if n := files(); n != 0 {
		t.Errorf("%d files are left", n)
	}
	hide()
	must(t, os.RemoveAll(filepath.Join(at, "files")))
}

// TestFullDirectory: sessions of an instance whose directory's file system is full are adopted; a generation that can't
// begin is tried again until there is room.
func TestFullDirectory(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := instancetest.TempDir(t)
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=200k,mode=700"))
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	e := env{t, dir}
	sup := proctest.Start(t, "supervise", dir)
	sup.Expect("ready ")
	a := e.session()
	e.create(a, 100, 4)
	filler := filepath.Join(dir, "filler")
	fill := func() {
		f, err := os.Create(filler)
		must(t, err)
		for b := make([]byte, 512); err == nil; {
			_, err = f.Write(b)
		}
		f.Close()
	}
	fill()
	sup.Kill()
	sup = proctest.Start(t, "supervise", dir)
	if g := sup.Expect("ready "); g != "1" {
		t.Errorf("generation %s: it was not adopted", g)
	}
	check(a)
	for _, path := range objectlist.Objects([]uuid.UUID{instancetest.Life(t, dir)}) {
		must(t, os.Remove(path))
	}
	a.Send("done")
	a.Expect("error the instance has stopped or begun a new generation")
	must(t, os.Remove(filler))
	s := e.open() // waits for it
	create(t, s, 100)
	noErr(t, s.Close())
	a.Kill()
	fill()
	noErr(t, sup.Close())
	must(t, os.Remove(filler))
	if left := objectlist.Objects(instancetest.Lives(t, dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	noErr(t, startAndStop(dir, "posix"))
}
