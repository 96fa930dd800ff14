//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Cures for what belongs to the machine are carried out in mount and ipc namespaces of the test's own.

const insideNamespaces = "GODSM_TEST_NAMESPACES"

var inNamespacesProgram, _ = os.Executable() // found while there is a /proc

// inNamespaces reports whether the test runs in them. Where it does not it runs itself there.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNamespaces) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount, and change limits of the kernel")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideNamespaces+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("skipped: no namespaces of its own: ", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// shmMount puts a file system in the place of /dev/shm.
func shmMount(options string) func(p place) error {
	return func(p place) error { return p.mount("/dev/shm", options) }
}

// mount mounts a tmpfs, and unmounts it at the test's end.
func (p place) mount(path, options string) error {
	p.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return unix.Mount("tmpfs", path, "tmpfs", 0, options)
}

func sysctl(name, value string) func(p place) error {
	return func(p place) error {
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		before, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(value), 0)
		}
		if err != nil {
			p.t.Skipf("skipped: %s can't be changed: %v", name, err)
		}
		p.t.Cleanup(func() { _ = os.WriteFile(path, before, 0) })
		return nil
	}
}

// between is what of a text lies between two others; the second may be empty, or missing.
func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	if from == "" {
		rest = text
	}
	if to != "" {
		rest, _, _ = strings.Cut(rest, to)
	}
	return strings.TrimSpace(rest)
}

// TestMachineCuresOfDoctor spoils a thing, carries out the command line that doctor prints for it, and looks again.
func TestMachineCuresOfDoctor(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, c := range []struct {
		name, check, typ string
		spoil            func(p place) error
		from, to         string // what stands before the command line in the cure, and behind it
	}{
		{"read-only mount", "shm_mount", "posix", shmMount("size=300m,mode=1777"), "", ""},
		{"mount without the sticky bit", "shm_mount", "posix", shmMount("size=300m,mode=0777"), "", ""},
		{"small mount", "shm_mount", "posix", shmMount("size=1m,mode=1777"), "", " ("},
		{"full mount", "shm_mount", "posix", func(p place) error {
			err := p.mount("/dev/shm", "size=100m,mode=1777")
			return errors.Join(err, os.WriteFile("/dev/shm/filler", make([]byte, 90<<20), 0o600))
		}, "ls -lS /dev/shm; or ", " ("},
		{"mount that is no tmpfs", "shm_mount", "posix", func(p place) error {
			other := p.t.TempDir()
			p.t.Cleanup(func() {
				_ = errors.Join(unix.Unmount("/dev/shm", unix.MNT_DETACH), unix.Unmount("/dev/shm", unix.MNT_DETACH))
			})
			return errors.Join(os.Chmod(other, 0o777|os.ModeSticky), unix.Mount(other, "/dev/shm", "", unix.MS_BIND, ""))
		}, "", ""},
		{"small shmmax", "sysv_limits", "sysv", sysctl("kernel.shmmax", "1000000"), "", ""},
		{"small shmall", "sysv_limits", "sysv", sysctl("kernel.shmall", "100"), "", ""},
		{"small shmmni", "sysv_limits", "sysv", sysctl("kernel.shmmni", "20"), "", ""},
		{"shmmni below max_segments", "sysv_limits", "sysv", sysctl("kernel.shmmni", "100"), "", ""},
		{"shm_rmid_forced", "sysv_rmid_forced", "sysv", sysctl("kernel.shm_rmid_forced", "1"), "", ""},
		{"small max_map_count", "map_count", "posix", sysctl("vm.max_map_count", "60000"), "", ""},
		{"directory on a read-only mount", "directory", "posix", func(p place) error {
			err := p.mount(p.dir, "mode=0700")
			return errors.Join(err, unix.Mount("", p.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}, "", " the file system of"},
		{"objects that look like an instance's", "unknown_objects", "posix", func(p place) error {
			name := dsmimpl.Object{Life: uuid.New(), Generation: 1, Handle: 1 << 20}.Name()
			return os.WriteFile("/dev/shm/"+name, make([]byte, 100), 0o600)
		}, "another user: ", ""},
		{"objects of an instance whose directory was removed", "unknown_objects", "posix", func(p place) error {
			lost := p
			lost.dir = filepath.Join(p.t.TempDir(), "lost")
			lost.env = append(p.env, "DSM_DIR="+lost.dir)
			lost.supervise().Kill()
			return os.RemoveAll(lost.dir)
		}, "", ""},
		{"objects of a dead instance of another directory", "unknown_objects", "posix", func(p place) error {
			other := p
			other.dir = filepath.Join(p.t.TempDir(), "other")
			other.env = append(p.env, "DSM_DIR="+other.dir)
			other.supervise().Kill()
			return nil
		}, "", ""},
		{"objects of a System V instance whose directory was removed", "unknown_objects", "sysv", func(p place) error {
			lost := p
			lost.dir = filepath.Join(p.t.TempDir(), "lost")
			lost.env = append(p.env, "DSM_DIR="+lost.dir)
			lost.supervise().Kill()
			return os.RemoveAll(lost.dir)
		}, "", ", if they"},
		{"a System V segment of another program", "unknown_objects", "sysv", func(p place) error {
			return exec.Command(os.Args[0], "-test.run=^$", "stranger's segment").Run() // see init
		}, "one by one: ", ""},
		{"objects of a dead instance", "leftovers", "posix", func(p place) error { p.supervise().Kill(); return nil }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			p.env = append(p.env, "DSM_DYNAMIC_SHARED_MEMORY_TYPE="+c.typ)
			if c.check == "map_count" {
				p.env = append(p.env, "DSM_MAX_SEGMENTS=65000")
			}
			if err := os.Mkdir(p.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if c.check != "shm_mount" {
				if err := p.mount("/dev/shm", "size=300m,mode=1777"); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.spoil(p); err != nil {
				t.Fatal(err)
			}
			if c.name == "read-only mount" {
				if err := unix.Mount("", "/dev/shm", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
			}
			f := p.doctor()[c.check]
			line := between(f.Cure, c.from, c.to)
			if f.Status == doctor.OK || line == "" {
				t.Fatalf("%+v", f)
			}
			if strings.HasSuffix(line, "rw") && c.check == "directory" {
				line += " " + p.dir
			}
			p.carryOut(line)
			if f := p.doctor()[c.check]; f.Status != doctor.OK {
				t.Errorf("after %s: %+v", line, f)
			}
			p.supervise()
			p.ok("create", "--pin", "x")
		})
	}
}

// TestMachineCuresOfErrors does what the error of a command says, and runs it again.
func TestMachineCuresOfErrors(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	fill := func(p place, says string, args ...string) string { // until a create is refused
		p.t.Helper()
		for range 2000 {
			_, errs, status := p.run(strings.Repeat("x", 200<<10), append([]string{"create", "--pin"}, args...)...)
			if status == 0 {
				continue
			}
			if !strings.Contains(errs, says) {
				p.t.Fatalf("it says %s, want %q", errs, says)
			}
			return errs
		}
		p.t.Fatal("there is always room")
		return ""
	}
	for _, c := range []struct {
		name  string
		typ   string
		spoil func(p place) error
		says  string
		cure  func(p place, says string) // carries it out
	}{
		{"shm mount full", "posix", shmMount("size=2m,mode=1777"), "enlarge it (mount -o remount,size=",
			func(p place, says string) {
				line := between(says, "enlarge it (", ";")
				p.carryOut(strings.Replace(line, "...", "100m", 1))
			}},
		{"shm mount without inodes", "posix", shmMount("size=100m,nr_inodes=8,mode=1777"),
			"give it more (mount -o remount,nr_inodes=",
			func(p place, says string) {
				p.carryOut(strings.Replace(between(says, "give it more (", ")"), "...", "1000", 1))
			}},
		{"mmap directory full", "mmap", func(p place) error { return p.mount("/mnt", "size=2m,mode=0700") },
			"make room, or set mmap_directory",
			func(p place, _ string) { p.carryOut("mount -o remount,size=100m /mnt") }},
		{"mmap directory on a full ext4", "mmap", func(p place) error {
			image := filepath.Join(p.t.TempDir(), "ext4")
			for _, args := range [][]string{
				{"truncate", "-s", "8M", image}, {"mkfs.ext4", "-q", "-O", "^has_journal", image}, {"mount", "-o", "loop", image, "/mnt"},
			} {
				if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
					p.t.Skipf("skipped: no ext4 on a loop device: %v: %v %s", args, err, out)
				}
			}
			p.t.Cleanup(func() { _ = unix.Unmount("/mnt", unix.MNT_DETACH) })
			return os.WriteFile("/mnt/filler", make([]byte, 5<<20), 0o600)
		}, "make room, or set mmap_directory", func(p place, _ string) { p.carryOut("rm /mnt/filler") }},
		{"mmap directory without inodes", "mmap",
			func(p place) error { return p.mount("/mnt", "size=100m,nr_inodes=6,mode=0700") },
			"no inodes left: remove files there", func(p place, _ string) {
				p.carryOut("mount -o remount,nr_inodes=1000 /mnt")
			}},
		{"System V segments", "sysv", sysctl("kernel.shmmni", "5"), "segments are in use: raise that limit",
			func(p place, says string) {
				p.carryOut("sysctl -w kernel.shmmni=4096")
			}},
		{"System V pages", "sysv", sysctl("kernel.shmall", "400"), "raise that limit", func(p place, says string) {
			p.carryOut("sysctl -w kernel.shmall=18446744073692774399")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			if c.typ != "posix" {
				if err := p.mount("/dev/shm", "size=300m,mode=1777"); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.spoil(p); err != nil {
				t.Fatal(err)
			}
			args := []string{"-c", "dynamic_shared_memory_type=" + c.typ, "-c", "max_segments=20", "-c", "max_processes=5"}
			if c.typ == "mmap" {
				args = append(args, "-c", "mmap_directory=/mnt/here")
			}
			p.env = append(p.env, "DSM_MAX_SEGMENTS=20", "DSM_MAX_PROCESSES=5")
			p.supervise(args...)
			c.cure(p, fill(p, c.says))
			p.ok("create", "--pin", "x")
		})
	}
}

// TestCureOfAReadOnlyMount mounts it read-write, as a refused start says.
func TestCureOfAReadOnlyMount(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	p := newPlace(t)
	err := p.mount("/mnt", "size=100m,mode=0700")
	if err = errors.Join(err, unix.Mount("", "/mnt", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	args := []string{"-c", "dynamic_shared_memory_type=mmap", "-c", "mmap_directory=/mnt/here"}
	_, says, status := p.run("", append([]string{"supervise", "--lifeline"}, args...)...)
	if status == 0 || !strings.Contains(says, "mount it read-write, or choose another directory") {
		t.Fatalf("status %d, %s", status, says)
	}
	p.carryOut("mount -o remount,rw /mnt")
	p.supervise(args...)
	p.ok("create", "--pin", "x")
}

// TestCureOfAHiddenMemory unmounts what hides a running instance's memory, as doctor and a refused start say.
func TestCureOfAHiddenMemory(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	p := newPlace(t)
	s := p.supervise("-c", "dynamic_shared_memory_type=posix")
	p.start("create", "held").Expect("")
	if err := p.mount("/dev/shm", "size=100m,mode=1777"); err != nil {
		t.Fatal(err)
	}
	f := p.doctor()["instance"]
	if f.Status != doctor.Bites || !strings.Contains(f.Cure, "or unmount what hides their memory") {
		t.Errorf("%+v", f)
	}
	s.Kill()
	start := []string{"supervise", "--lifeline", "-c", "dynamic_shared_memory_type=posix"}
	if _, says, status := p.run("", start...); status == 0 || !strings.Contains(says, "stop them, or work where they run") {
		t.Errorf("status %d, %s", status, says)
	}
	p.carryOut("umount /dev/shm")
	p.supervise("-c", "dynamic_shared_memory_type=posix")
	if f := p.doctor()["instance"]; f.Status != doctor.OK || !strings.Contains(f.Found, "with 1 sessions") {
		t.Errorf("after umount: %+v", f)
	}
}

// TestCureOfAMissingProc mounts /proc, as a refused start says.
func TestCureOfAMissingProc(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	p := newPlace(t)
	if err := unix.Mount("tmpfs", "/proc", "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	args := []string{"supervise", "--lifeline", "-c", "dynamic_shared_memory_type=posix"}
	cmd := exec.Command(inNamespacesProgram, args...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	line := between(string(out), "mount it (", ")")
	if err == nil || line == "" {
		_ = unix.Unmount("/proc", unix.MNT_DETACH)
		t.Fatalf("%v, %s", err, out)
	}
	if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
		_ = unix.Unmount("/proc", unix.MNT_DETACH)
		t.Fatalf("%s: %v %s", line, err, out)
	}
	p.supervise(args[2:]...)
	p.ok("create", "--pin", "x")
}

// TestCureOfACopyOnWriteFileSystem sets mmap_directory to another one, as doctor says.
func TestCureOfACopyOnWriteFileSystem(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	p := newPlace(t)
	image := filepath.Join(t.TempDir(), "btrfs")
	for _, args := range [][]string{
		{"truncate", "-s", "150M", image}, {"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, "/mnt"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("skipped: no btrfs on a loop device: %v: %v %s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount("/mnt", unix.MNT_DETACH) })
	p.env = append(p.env, "DSM_DYNAMIC_SHARED_MEMORY_TYPE=mmap")
	on := func(dir string) doctor.Finding {
		q := p
		q.env = append(p.env, "DSM_MMAP_DIRECTORY="+dir)
		return q.doctor()["mmap_directory"]
	}
	if f := on("/mnt/files"); f.Status != doctor.Bites || f.Cure != "set mmap_directory to one on tmpfs, ext4 or xfs" {
		t.Fatalf("%+v", f)
	}
	there := t.TempDir()
	if err := p.mount(there, "size=100m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	if f := on(there); f.Status != doctor.OK {
		t.Errorf("on tmpfs: %+v", f)
	}
	p.env = append(p.env, "DSM_MMAP_DIRECTORY="+there)
	p.supervise()
	p.ok("create", "--pin", "x")
}

func init() {
	if len(os.Args) == 3 && os.Args[2] == "stranger's segment" {
		_, err := unix.SysvShmGet(0x12345678, 5000, unix.IPC_CREAT|0o600)
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}
