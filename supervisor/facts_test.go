//go:build linux

package supervisor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
)

// Facts of the process are asked when they are used: they may change.

func init() {
	proctest.Register("with umask", func(c *proctest.Child) error {
		n, err := strconv.ParseUint(c.Args[0], 8, 32)
		if err != nil {
			return err
		}
		syscall.Umask(int(n))
		return useOnce(c, c.Args[1:])
	})
	proctest.Register("drop root", func(c *proctest.Child) error {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
		return useOnce(c, c.Args)
	})
	proctest.Register("with descriptors", func(c *proctest.Child) error {
		n, err := strconv.ParseUint(c.Args[0], 10, 64)
		if err != nil {
			return err
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
		c.Args = c.Args[1:]
		return superviseHelper(c)
	})
}

// useOnce: DIR BACKEND. It starts an instance, shares a segment between two sessions, and stops.
func useOnce(c *proctest.Child, args []string) error {
	cfg := config(args[0], []string{"dynamic_shared_memory_type", args[1]})
	s, err := supervisor.Start(ctx, cfg)
	if err != nil {
		return err
	}
	a, err := dsm.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	g, err := a.Create(ctx, a.Owner(), 100)
	if err == nil {
		var b *dsm.Session
		if b, err = dsm.Open(ctx, cfg); err == nil {
			_, err = b.Attach(ctx, b.Owner(), g.Handle())
			err = errors.Join(err, b.Close())
		}
	}
	if err = errors.Join(err, a.Close(), s.Stop()); err == nil {
		c.Say("used")
	}
	return err
}

func TestUmask(t *testing.T) {
	for _, mask := range []string{"0777", "0277", "0177", "0377", "0"} {
		instancetest.Each(t, func(t *testing.T, backend string) {
			t.Parallel()
			base := instancetest.TempDir(t)
			must(t, os.Chmod(base, 0o777))
			dir := filepath.Join(base, "deep", "dir")
			p := asNobody(t, "with umask", mask, dir, backend)
			p.Expect("used")
			if err := p.Wait(); err != nil {
				t.Errorf("%v: %s", err, p.Stderr())
			}
			if left := objectlist.Objects(instancetest.Lives(t, dir), filepath.Join(dir, "mmap")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestRootIsDropped: a daemon that starts as root, as one that binds a low port does, and goes on as another user.
func TestRootIsDropped(t *testing.T) {
	instancetest.NeedOtherUsers(t)
	instancetest.Each(t, func(t *testing.T, backend string) {
		base := instancetest.TempDir(t)
		must(t, os.Chown(base, nobody, nobody))
		cmd := proctest.Command("drop root", filepath.Join(base, "dir"), backend)
		cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+base)
		p := proctest.Run(t, cmd)
		p.Expect("used")
		if err := p.Wait(); err != nil {
			t.Errorf("%v: %s", err, p.Stderr())
		}
	})
}

// TestDirectoryNotUTF8: a path is bytes.
func TestDirectoryNotUTF8(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := env{t, filepath.Join(instancetest.TempDir(t), "n\xff\xfe")}
		sup, _ := e.supervise("dynamic_shared_memory_type", backend)
		a := e.session()
		e.create(a, 100, 3)
		sup.Kill()
		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		if generation != "1" {
			t.Errorf("generation %s: it was not adopted", generation)
		}
		check(a)
		if r := e.report(); r.Status.Dir != e.dir || backend == "mmap" && !strings.HasPrefix(r.Segments[0].OSName, e.dir) {
			t.Errorf("%+v", r)
		}
		if entries, _ := os.ReadDir(filepath.Dir(e.dir)); len(entries) != 1 {
			t.Errorf("beside the directory: %v", entries)
		}
		a.Kill()
		noErr(t, sup.Close())
	})
}

// TestFewDescriptors: a supervisor with 20 descriptors adopts, watches and reclaims more sessions than it can watch by
// the kernel's news.
func TestFewDescriptors(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise()
	var sessions []*proctest.Process
	for range 12 {
		s := e.session()
		e.create(s, 100, 2)
		sessions = append(sessions, s)
	}
	sup.Kill()
	sup = proctest.Start(t, "with descriptors", "20", e.dir)
	if g := sup.Expect("ready "); g != "1" {
		t.Errorf("generation %s: it was not adopted", g)
	}
	for _, s := range sessions[:11] {
		s.Kill()
	}
	instancetest.Eventually(t, "the dead are reclaimed", func() bool {
		r := e.report()
		return len(r.Sessions) == 1 && len(r.Segments) == 2 && e.objects() == 2
	})
	check(sessions[11])
	sessions[11].Kill()
	noErr(t, sup.Close())
	e.noneLeft()
}
