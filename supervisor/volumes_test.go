//go:build linux

package supervisor_test

import (
	"os"
	"os/exec"
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

// TestSnapshot: a start or a clean of a snapshot, with the directory's inode number and maybe its device's, changes
// nothing of the living original, in one boot and over another.
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
					objects := func() int { return len(objectlist.Objects(life, filepath.Join(e.dir, "mmap"))) }
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
		if n := len(objectlist.Objects(life, filepath.Join(one.dir, "mmap"))); n != 4 {
			t.Errorf("%d of the first container's 4 objects are left", n)
		}
		one.create(sa, 100, 1)
		check(sa)
		sa.Kill()
		noErr(t, a.Close())
		for _, e := range []env{one, two} {
			if left := objectlist.Objects(instancetest.Lives(t, e.dir), filepath.Join(e.dir, "mmap")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	})
}

// TestRemountedVolume: what a dead instance left is removed by the next start though its volume has come back under
// another device number, in the same boot or another.
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
				if left := objectlist.Objects(life, filepath.Join(e.dir, "mmap")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	})
}
