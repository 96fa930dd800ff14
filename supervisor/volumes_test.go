//go:build linux

package supervisor_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/eye"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/internal/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

const inNamespace = "DSM_TEST_IN_NAMESPACE"

// ownMounts runs the test in a process with mount and ipc namespaces of its own, and reports whether this is that one.
func ownMounts(t *testing.T, tools ...string) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
		must(t, syscall.Mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=200m"))
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount volumes")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: %v", err)
		}
	}
	t.Setenv(inNamespace, "1")
	rerun(t, syscall.CLONE_NEWNS|syscall.CLONE_NEWIPC)
	return false
}

func run(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Skipf("skipped: %v: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// volume is a file system in a file.
type volume struct {
	t            *testing.T
	image, mount string
	loop         string
}

func newVolume(t *testing.T, kind string) *volume {
	t.Helper()
	base := instancetest.TempDir(t)
	v := &volume{t: t, image: filepath.Join(base, "image"), mount: filepath.Join(base, "mount")}
	must(t, os.WriteFile(v.image, nil, 0o600))
	must(t, os.Truncate(v.image, 200<<20))
	must(t, os.Mkdir(v.mount, 0o700))
	run(t, "mkfs."+kind, "-q", v.image)
	v.attach()
	t.Cleanup(v.detach)
	return v
}

func (v *volume) attach() {
	v.t.Helper()
	v.loop = run(v.t, "losetup", "-f", "--show", v.image)
	run(v.t, "mount", v.loop, v.mount)
}

func (v *volume) detach() {
	if v.loop != "" {
		_ = exec.Command("umount", v.mount).Run()
		_ = exec.Command("losetup", "-d", v.loop).Run()
	}
	v.loop = ""
}

// anotherBoot makes this process and its children believe that the machine has been started again.
func anotherBoot(t *testing.T) {
	t.Helper()
	file := filepath.Join(instancetest.TempDir(t), "boot")
	must(t, os.WriteFile(file, []byte(uuid.NewString()+"\n"), 0o444))
	must(t, syscall.Mount(file, "/proc/sys/kernel/random/boot_id", "", syscall.MS_BIND, ""))
	t.Cleanup(func() { _ = syscall.Unmount("/proc/sys/kernel/random/boot_id", syscall.MNT_DETACH) })
}

// TestSnapshot: a start or a clean of a snapshot, with the directory's inode number and maybe its device's, changes nothing
// of the living original, in one boot and over another.
func TestSnapshot(t *testing.T) {
	if !ownMounts(t, "mkfs.btrfs", "btrfs", "losetup") {
		return
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, when := range []string{"before the first start", "of a living instance"} {
			for _, boot := range []string{"same boot", "other boot"} {
				t.Run(when+"/"+boot, func(t *testing.T) {
					v := newVolume(t, "btrfs")
					original := filepath.Join(v.mount, "a")
					run(t, "btrfs", "subvolume", "create", original)
					e := env{t, filepath.Join(original, "dsm")}
					sup := proctest.Start(t, "supervise", e.dir, "dynamic_shared_memory_type", backend)
					sup.Expect("ready ")
					noErr(t, sup.Close()) // it has been used once
					snapshot := func() string {
						run(t, "btrfs", "subvolume", "snapshot", original, original+".snapshot")
						return filepath.Join(original+".snapshot", "dsm")
					}
					copied := ""
					if when == "before the first start" {
						copied = snapshot()
					}
					if boot == "other boot" {
						anotherBoot(t)
					}
					sup = proctest.Start(t, "supervise", e.dir, "dynamic_shared_memory_type", backend)
					sup.Expect("ready ")
					a := e.session()
					h := e.create(a, 100, 4)
					a.Send("pin %s", h)
					a.Expect("pinned")
					if copied == "" {
						copied = snapshot()
					}
					life := []uuid.UUID{instancetest.Life(t, e.dir)}
					objects := func() int { return len(eye.Objects(life, filepath.Join(e.dir, "mmap"))) }
					_, err := instance.Clean(ctx, copied, instance.Backends{}, instance.Who("test"), zerolog.Nop())
					noErr(t, err)
					if n := objects(); n != 5 {
						t.Errorf("clean of the snapshot left %d of 5 objects", n)
					}
					noErr(t, startAndStop(copied, backend))
					if n := objects(); n != 5 {
						t.Errorf("a start of the snapshot left %d of 5 objects", n)
					}
					check(a)
					e.create(a, 100, 1)
					if left, _ := filepath.Glob(filepath.Join(copied, "mmap", "*")); len(left) > 0 {
						t.Errorf("left in the snapshot: %v", left)
					}
					a.Kill()
					noErr(t, sup.Close())
					if n := objects(); n != 0 {
						t.Errorf("%d objects are left", n)
					}
				})
			}
		}
	})
}

// TestImageLayer: two containers of one image, in which an instance has been used, are two instances.
func TestImageLayer(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		base := instancetest.TempDir(t)
		must(t, syscall.Mount("tmpfs", base, "tmpfs", 0, "size=100m,mode=700"))
		t.Cleanup(func() { _ = syscall.Unmount(base, syscall.MNT_DETACH) })
		image := filepath.Join(base, "image")
		must(t, os.MkdirAll(filepath.Join(image, "dsm"), 0o700))
		sup := proctest.Start(t, "supervise", filepath.Join(image, "dsm"), "dynamic_shared_memory_type", backend)
		sup.Expect("ready ")
		first := env{t, filepath.Join(image, "dsm")}
		s := first.session()
		first.create(s, 100, 2)
		s.Kill() // the image was made of a killed one
		sup.Kill()
		container := func(name string) env {
			dir := filepath.Join(base, name)
			for _, sub := range []string{"upper", "work", "root"} {
				must(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
			}
			err := syscall.Mount("overlay", dir+"/root", "overlay", 0,
				"lowerdir="+image+",upperdir="+dir+"/upper,workdir="+dir+"/work")
			if err != nil {
				t.Skipf("skipped: no overlayfs here: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir+"/root", syscall.MNT_DETACH) })
			return env{t, filepath.Join(dir, "root", "dsm")}
		}
		one, two := container("one"), container("two")
		a := proctest.Start(t, "supervise", one.dir, "dynamic_shared_memory_type", backend)
		a.Expect("ready ")
		sa := one.session()
		one.create(sa, 100, 3)
		life := []uuid.UUID{instancetest.Life(t, one.dir)}
		b := proctest.Start(t, "supervise", two.dir, "dynamic_shared_memory_type", backend)
		b.Expect("ready ")
		sb := two.session()
		two.create(sb, 100, 4)
		check(sa)
		sb.Kill()
		noErr(t, b.Close())
		if n := len(eye.Objects(life, filepath.Join(one.dir, "mmap"))); n != 4 {
			t.Errorf("%d of the first container's 4 objects are left", n)
		}
		one.create(sa, 100, 1)
		check(sa)
		sa.Kill()
		noErr(t, a.Close())
		for _, e := range []env{one, two} {
			if left := eye.Objects(instancetest.Lives(t, e.dir), filepath.Join(e.dir, "mmap")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	})
}

// TestRemountedVolume: what a dead instance left is removed by the next start though its volume has come back under another
// device number, in the same boot or another.
func TestRemountedVolume(t *testing.T) {
	if !ownMounts(t, "mkfs.ext4", "losetup") {
		return
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, boot := range []string{"same boot", "other boot"} {
			t.Run(boot, func(t *testing.T) {
				v := newVolume(t, "ext4")
				e := env{t, filepath.Join(v.mount, "dsm")}
				sup := proctest.Start(t, "supervise", e.dir, "dynamic_shared_memory_type", backend)
				sup.Expect("ready ")
				a := e.session()
				e.create(a, 100, 4)
				life := []uuid.UUID{instancetest.Life(t, e.dir)}
				sup.Kill()
				a.Kill()
				v.detach()
				other := filepath.Join(instancetest.TempDir(t), "other")
				must(t, os.WriteFile(other, make([]byte, 1<<20), 0o600))
				taken := run(t, "losetup", "-f", "--show", other) // another volume has the device
				defer func() { _ = exec.Command("losetup", "-d", taken).Run() }()
				v.attach()
				if boot == "other boot" {
					anotherBoot(t)
				}
				noErr(t, startAndStop(e.dir, backend))
				if left := eye.Objects(life, filepath.Join(e.dir, "mmap")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	})
}

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
	if n := len(eye.Objects(life)); n != 5 {
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
	if n := len(eye.Objects(life)); n != 5 {
		t.Errorf("%d of 5 objects are left", n)
	}
	noErr(t, startAndStop(e.dir, "posix"))
	if left := eye.Objects(life); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUnmountedFiles: files of an external mmap_directory outlive the machine. A start that sees them no more, since their
// volume is not mounted yet, keeps their life listed, and the first one that sees them again removes them.
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
	for _, path := range eye.Objects([]uuid.UUID{instancetest.Life(t, dir)}) {
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
	if left := eye.Objects(instancetest.Lives(t, dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	noErr(t, startAndStop(dir, "posix"))
}
