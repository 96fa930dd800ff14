//go:build linux

package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/leaktest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"golang.org/x/sys/unix"
)

func init() {
	proctest.Register("limited", limitedHelper)
	proctest.Register("supervise without descriptors", func(c *proctest.Child) error {
		s, err := supervisor.Start(ctx, config(c.Args[0], c.Args[1:]))
		if err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 1024}); err != nil {
			return err
		}
		c.Say("ready")
		c.Hear()
		return s.Stop()
	})
}

// limit is one that a process has lowered for itself, and how it fares.
type limit struct {
	resource int
	value    func() uint64
	size     int // of the segment that can't be made
	says     string
}

var limits = map[string]limit{
	"nofile": {unix.RLIMIT_NOFILE, func() uint64 { return 3 }, 4096, "ulimit -n"},
	"fsize":  {unix.RLIMIT_FSIZE, func() uint64 { return 1 << 16 }, 1 << 20, "ulimit -f"},
	"as":     {unix.RLIMIT_AS, func() uint64 { return addressSpace() + 128<<20 }, 192 << 20, "ulimit -v"},
}

func addressSpace() (bytes uint64) {
	b, _ := os.ReadFile("/proc/self/statm")
	_, _ = fmt.Sscan(string(b), &bytes)
	return bytes * uint64(os.Getpagesize())
}

// limitedHelper: DIR LIMIT. It finds that under the limit a segment can't be made, that nothing is
// left of the try, and that all is well once the limit is gone.
func limitedHelper(c *proctest.Child) error {
	l := limits[c.Args[1]]
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	big, err := s.Create(ctx, s.Owner(), 4096) // before, as a proof that it works
	if err != nil {
		return err
	}
	_ = big.Detach()
	before := leaktest.Now()
	var was unix.Rlimit
	if err := unix.Getrlimit(l.resource, &was); err != nil {
		return err
	}
	if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.value(), Max: was.Max}); err != nil {
		return err
	}
	_, err = s.Create(ctx, s.Owner(), l.size)
	_, again := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Settings: map[string]string{}})
	if rerr := unix.Setrlimit(l.resource, &was); rerr != nil {
		return rerr
	}
	if after := leaktest.Now(); after != before && again != nil {
		return fmt.Errorf("from %+v to %+v", before, after)
	}
	list, lerr := s.Segments(ctx)
	if lerr != nil || len(list) != 0 {
		return fmt.Errorf("%+v, %v", list, lerr)
	}
	c.Say("%v", err)
	c.Say("%v", again)
	c.Hear()
	g, err := s.Create(ctx, s.Owner(), 1<<20)
	if err != nil {
		return fmt.Errorf("after the limit: %w", err)
	}
	g.Bytes()[0] = 1
	c.Say("good")
	return s.Close()
}

// TestLimits: a limit of this process is an error that names it, and leaves nothing.
func TestLimits(t *testing.T) {
	for name, l := range limits {
		for _, backend := range []string{"posix", "mmap"} {
			if l.size > 32<<20 && backend == "posix" {
				continue // tests take no more of the shm mount
			}
			t.Run(name+"/"+backend, func(t *testing.T) {
				e := newEnv(t)
				e.supervise("dynamic_shared_memory_type", backend)
				p := proctest.Start(t, "limited", e.dir, name)
				if got, _ := p.Line(); !strings.Contains(got, l.says) {
					t.Errorf("Create = %v, want it to say %q", got, l.says)
				}
				if got, _ := p.Line(); name == "nofile" && !strings.Contains(got, l.says) {
					t.Errorf("Open = %v, want it to say %q", got, l.says)
				}
				if n := e.objects(); n != 0 {
					t.Errorf("%d objects are left", n)
				}
				p.Send("go on")
				p.Expect("good")
				noErr(t, p.Close())
			})
		}
	}
}

// TestSupervisorWithoutDescriptors finds the dead without news of them, and ends in order.
func TestSupervisorWithoutDescriptors(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		instancetest.NoneLeft(t, e.dir)
		sup := proctest.Start(t, "supervise without descriptors", e.dir, "dynamic_shared_memory_type", backend)
		sup.Expect("ready")
		a, b := e.session(), e.session()
		e.create(a, 100, 5)
		e.create(b, 100, 5)
		a.Kill()
		instancetest.Eventually(t, "the dead one is reclaimed", func() bool {
			return len(e.report().Sessions) == 1 && e.objects() == 5
		})
		check(b)
		noErr(t, b.Close())
		noErr(t, sup.Close())
	})
}

const inMounts = "DSM_TEST_MOUNT_NAMESPACE"

// TestMounts runs itself in a mount namespace of its own, where it may mount things.
func TestMounts(t *testing.T) {
	if os.Getenv(inMounts) == "" {
		t.Setenv(inMounts, "1")
		rerun(t, syscall.CLONE_NEWNS)
		return
	}
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s: %v", target, err)
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64m,mode=1777")
	free := func() uint64 {
		var st unix.Statfs_t
		if err := unix.Statfs("/dev/shm", &st); err != nil {
			t.Fatal(err)
		}
		return st.Bfree
	}
	t.Run("64 MB shm mount", func(t *testing.T) {
		empty := free()
		cfg := instancetest.Config(t, "posix")
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		before := free()
		for _, size := range []int{64 << 20, 100 << 20} {
			_, err := s.Create(ctx, s.Owner(), size)
			if !errors.Is(err, dsm.ErrNoSpace) || !strings.Contains(err.Error(), "/dev/shm holds 64 MB, of which ") ||
				!strings.Contains(err.Error(), "enlarge it") {
				t.Errorf("Create of %d bytes = %v", size, err)
			}
			if free() != before {
				t.Errorf("after a failed Create of %d bytes %d blocks are free, were %d", size, free(), before)
			}
		}
		var all []*dsm.Segment
		for {
			g, err := s.Create(ctx, s.Owner(), 5<<20)
			if err != nil {
				if !errors.Is(err, dsm.ErrNoSpace) {
					t.Error(err)
				}
				break
			}
			for i := 0; i < g.Size(); i += os.Getpagesize() { // reserved: no fault
				g.Bytes()[i] = 1
			}
			all = append(all, g)
		}
		if len(all) != 12 {
			t.Errorf("%d segments of 5 MB fit", len(all))
		}
		for _, g := range all {
			_ = g.Detach()
		}
		if free() != before || before == empty {
			t.Errorf("%d blocks are free, were %d, and %d at first", free(), before, empty)
		}
	})
	t.Run("too small for a control segment", func(t *testing.T) {
		mount("", "/dev/shm", "", unix.MS_REMOUNT, "size=64k")
		defer mount("", "/dev/shm", "", unix.MS_REMOUNT, "size=64m")
		dir := instancetest.TempDir(t)
		if err := startAndStop(dir, "posix"); !errors.Is(err, dsm.ErrNoSpace) ||
			!strings.Contains(err.Error(), "enlarge it") {
			t.Errorf("Start = %v", err)
		}
		if left, _ := filepath.Glob("/dev/shm/*"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("read-only shm mount", func(t *testing.T) {
		cfg := instancetest.Config(t, "posix")
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		mount("/dev/shm", "/dev/shm", "", unix.MS_BIND, "") // the old one is busy
		mount("", "/dev/shm", "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_BIND, "")
		_, err := s.Create(ctx, s.Owner(), 100)
		starting := startAndStop(instancetest.TempDir(t), "posix")
		if err := unix.Unmount("/dev/shm", 0); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{"Create": err, "Start": starting} {
			if !errors.Is(err, dsm.ErrPermission) || !strings.Contains(err.Error(), "mount it read-write") {
				t.Errorf("%s = %v", what, err)
			}
		}
		if list, err := s.Segments(ctx); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := s.Create(ctx, s.Owner(), 100); err != nil {
			t.Errorf("after the cure: %v", err)
		}
	})
	t.Run("read-only directory", func(t *testing.T) {
		dir := instancetest.TempDir(t)
		mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700")
		defer unix.Unmount(dir, unix.MNT_DETACH)
		if err := startAndStop(dir, "posix"); err != nil {
			t.Fatal(err)
		}
		mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_BIND, "")
		if err := startAndStop(dir, "posix"); !errors.Is(err, dsm.ErrPermission) ||
			!strings.Contains(err.Error(), "mount it read-write") {
			t.Errorf("Start = %v", err)
		}
		mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		if err := startAndStop(dir, "posix"); err != nil {
			t.Errorf("after the cure: %v", err)
		}
	})
	t.Run("full directory", func(t *testing.T) {
		dir := instancetest.TempDir(t)
		mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700")
		defer unix.Unmount(dir, unix.MNT_DETACH)
		fill := filepath.Join(dir, "fill")
		if err := os.WriteFile(fill, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := startAndStop(dir, "posix"); !errors.Is(err, dsm.ErrNoSpace) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Start = %v", err)
		}
		_ = os.Remove(fill)
		if err := startAndStop(dir, "posix"); err != nil {
			t.Errorf("after the cure: %v", err)
		}
	})
	t.Run("no shm mount", func(t *testing.T) {
		mount("tmpfs", "/dev", "tmpfs", 0, "size=1m")
		defer unix.Unmount("/dev", unix.MNT_DETACH)
		err := startAndStop(instancetest.TempDir(t), "posix")
		if err == nil || !strings.Contains(err.Error(), "mount one or choose another dynamic_shared_memory_type") {
			t.Errorf("Start = %v", err)
		}
	})
	if left, _ := filepath.Glob("/dev/shm/*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
