package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/leaktest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
)

// runHelper runs a private instance: it says where, creates a few segments, and waits.
func runHelper(c *proctest.Child) error {
	return supervisor.Run(ctx, config("", c.Args), func(ctx context.Context, s *dsm.Session) error {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for range 5 {
			if _, err := s.Create(ctx, s.Owner(), 1000); err != nil {
				return err
			}
		}
		c.Say("dir %s", st.Dir)
		c.Hear()
		return nil
	})
}

func TestPrivate(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		instancetest.StateHome(t)
		start := func() (*proctest.Process, env) {
			p := proctest.Start(t, "run", "dynamic_shared_memory_type", backend)
			dir := p.Expect("dir ")
			lives := instancetest.Lives(t, dir)
			t.Cleanup(func() {
				if left := objectlist.Objects(lives, filepath.Join(dir, "mmap")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
			return p, env{t, dir}
		}
		gone := func(dir string) bool { _, err := os.Stat(dir); return errors.Is(err, os.ErrNotExist) }
		orderly, o := start()
		killed, k := start()
		abandoned, a := start()
		last := a.session() // a worker of the third
		if o.objects() != 5 || k.objects() != 5 || a.objects() != 5 {
			t.Error("objects are missing")
		}
		noErr(t, orderly.Close())
		if !gone(o.dir) {
			t.Error("an orderly end left the directory")
		}
		killed.Kill()
		abandoned.Kill()
		if gone(k.dir) || gone(a.dir) {
			t.Error("who removed them?")
		}
		last.Send("close") // the last to leave cleans
		last.Expect("closed")
		_ = last.Wait()
		if !gone(a.dir) {
			t.Error("the last session to leave left the directory")
		}
		if gone(k.dir) {
			t.Error("who removed it?")
		}
		next, n := start() // every start cleans its dead siblings
		if !gone(k.dir) || gone(n.dir) {
			t.Error("a start did not clean what a dead sibling left")
		}
		noErr(t, next.Close())
	})
}

// slowBackend is posix with a stop before each removal, if a test sets one.
type slowBackend struct{ dsmimpl.Backend }

var beforeDestroy = func() {}

func (slowBackend) Name() string { return "slow" }

func (b slowBackend) Destroy(ctx context.Context, o dsmimpl.Object) error {
	beforeDestroy()
	return b.Backend.Destroy(ctx, o)
}

func init() {
	b, err := catalog.New(catalog.Default(), "")
	if err != nil {
		panic(err)
	}
	ownBackends["slow"] = slowBackend{b}
}

// TestCleaningLocksOnlyTheDead: while a dead private instance is removed, one that has lost its supervisor
// and whose sessions live can be taken over. Before, it was kept locked until the removal was through.
func TestCleaningLocksOnlyTheDead(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	run := func(pairs ...string) (p *proctest.Process, path string) {
		p = proctest.Start(t, "run", pairs...)
		path = p.Expect("dir ")
		leaktest.None(t, instancetest.Life(t, path), filepath.Join(path, "mmap"))
		return p, path
	}
	dead, deadPath := run("own_backend", "slow")
	lives, path := run()
	for path < deadPath { // cleaning goes by names: the dead one first
		if err := lives.Close(); err != nil {
			t.Fatal(err)
		}
		lives, path = run()
	}
	instancetest.Open(t, config(path, nil)) // when it leaves, the instance ends
	dir, err := instance.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	dead.Kill()
	lives.Kill()
	instancetest.Eventually(t, "the supervisor's lock is free", func() bool { return !dir.HasHolder() })

	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	defer func(was func()) { beforeDestroy = was }(beforeDestroy)
	beforeDestroy = func() {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-goOn
	}
	var cleaning sync.WaitGroup
	cleaning.Go(func() {
		// a killed process seems to live for a moment
		for _, err := os.Stat(deadPath); err == nil; _, err = os.Stat(deadPath) {
			instance.CleanPrivate(ctx, instance.Backends{Custom: ownBackends["slow"]},
				instance.Who("test"), zerolog.Nop())
		}
	})
	<-begun
	if dir.HasHolder() {
		t.Error("an instance in which somebody lives is locked while another one is removed")
	}
	close(goOn)
	cleaning.Wait()
}

// TestLeavingDoesNotLock: a session that leaves a private instance whose supervisor is dead does not keep a supervisor
// from taking over while others live there. Before, it held the directory's lock while it waited for them to be seen
// dead.
func TestLeavingDoesNotLock(t *testing.T) {
	instancetest.StateHome(t)
	p := proctest.Start(t, "run")
	path := p.Expect("dir ")
	dir, err := instance.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	leaktest.None(t, instancetest.Life(t, path), filepath.Join(path, "mmap"))
	stays, leaves := instancetest.Open(t, config(path, nil)), instancetest.Open(t, config(path, nil))
	p.Kill()
	instancetest.Eventually(t, "the supervisor's lock is free", func() bool { return !dir.HasHolder() })
	left := make(chan error, 1)
	go func() { left <- leaves.Close() }()
	for locked := 0; ; {
		if dir.HasHolder() {
			locked++
		}
		select {
		case err := <-left:
			if err != nil || locked > 0 {
				t.Errorf("Close: %v; the directory was seen locked %d times", err, locked)
			}
			noErr(t, stays.Close()) // the last one ends the instance
			return
		default:
		}
	}
}
