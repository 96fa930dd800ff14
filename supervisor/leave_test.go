package supervisor_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
)

// leave has a supervisor of another process hand over.
func leave(t *testing.T, p *proctest.Process) {
	t.Helper()
	p.Send("leave")
	if got := p.Expect("left "); got != "<nil>" {
		t.Fatalf("Leave: %s", got)
	}
}

// keepsAlone skips where an instance without a process can't be: on a system that removes objects with their last user.
func keepsAlone(t *testing.T, backend string) {
	if backend == "windows" {
		t.Skip("the system removes what no process has open")
	}
}

// TestLeaveHandsOver: sessions work on, come and go while no process watches; the next supervisor finds all of it.
func TestLeaveHandsOver(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		e := newEnv(t)
		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.session(), e.session()
		pinned := e.create(a, 4096, 1)
		a.Send("pin %s", pinned)
		a.Expect("pinned")
		e.create(b, 4096, 7)
		leave(t, sup)
		if st := e.report().Status; st.Supervised || st.Left.IsZero() || st.Sessions != 2 || st.Closing {
			t.Errorf("while no process watches: %+v", st)
		}
		check(a)
		c := e.session()
		c.Send("attach %s", pinned)
		c.Expect("attached")
		e.create(c, 4096, 3)
		b.Kill()
		c.Kill()
		next, same := e.supervise("dynamic_shared_memory_type", backend)
		if same != generation {
			t.Errorf("generation %s after %s", same, generation)
		}
		r := e.report()
		if !r.Status.Supervised || !r.Status.Left.IsZero() || len(r.Sessions) != 1 {
			t.Errorf("after the next start: %+v", r.Status)
		}
		instancetest.Eventually(t, "what the dead held is gone", func() bool { return e.objects() == 1 })
		check(a)
		if left := e.left(); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
		noErr(t, a.Close())
		noErr(t, sup.Close()) // which stops nothing
		if st := e.report().Status; !st.Supervised || st.Closing {
			t.Errorf("after the first supervisor's Stop: %+v", st)
		}
		noErr(t, next.Close())
		e.noneLeft()
	})
}

// TestLeaveWithoutSessions: what is pinned waits for the next supervisor; a supervisor that is killed leaves nothing.
func TestLeaveWithoutSessions(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		keepsAlone(t, backend)
		t.Parallel()
		e := newEnv(t)
		sup, generation := e.supervise("dynamic_shared_memory_type", backend, "min_dynamic_shared_memory", "1MB")
		a := e.session()
		pinned, carved := e.create(a, 2<<20, 1), e.create(a, 4096, 1)
		for _, h := range []string{pinned, carved} {
			a.Send("pin %s", h)
			a.Expect("pinned")
		}
		noErr(t, a.Close())
		leave(t, sup)
		_, err := instance.Clean(ctx, e.dir, instance.Backends{}, instance.Who("clean"), zerolog.Nop())
		if !errors.Is(err, dsm.ErrInUse) {
			t.Errorf("clean of an instance that was handed over: %v", err)
		}
		for range 2 { // sessions come, the last one goes
			b := e.session()
			b.Send("attach %s", carved)
			b.Expect("attached")
			noErr(t, b.Close())
		}
		next, same := e.supervise("dynamic_shared_memory_type", backend, "min_dynamic_shared_memory", "1MB")
		if same != generation {
			t.Errorf("generation %s after %s", same, generation)
		}
		b := e.session()
		for _, h := range []string{pinned, carved} {
			b.Send("attach %s", h)
			b.Expect("attached")
		}
		b.Kill()
		next.Kill()
		_, another := e.supervise("dynamic_shared_memory_type", backend)
		if another == generation || e.objects() != 0 {
			t.Errorf("after a kill: generation %s after %s, %d objects", another, generation, e.objects())
		}
	})
}

// TestLeaveAndStop: each order of the two, alone and at once.
func TestLeaveAndStop(t *testing.T) {
	start := func(t *testing.T, dir string) *supervisor.Supervisor {
		t.Helper()
		s, err := supervisor.Start(ctx, config(dir, nil))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("leave, leave, stop", func(t *testing.T) {
		e := newEnv(t)
		s := start(t, e.dir)
		noErr(t, s.Leave())
		noErr(t, s.Leave())
		noErr(t, s.Stop())
		<-s.Done()
		again := start(t, e.dir)
		noErr(t, again.Leave())
		last := start(t, e.dir)
		noErr(t, errors.Join(s.Stop(), again.Stop(), again.Leave())) // which are not theirs any more
		if st, err := last.Status(ctx); err != nil || !st.Supervised {
			t.Errorf("%+v, %v", st, err)
		}
		noErr(t, last.Stop())
		e.noneLeft()
	})
	t.Run("stop, leave", func(t *testing.T) {
		e := newEnv(t)
		s := start(t, e.dir)
		noErr(t, s.Stop())
		if err := s.Leave(); !errors.Is(err, dsm.ErrNoInstance) {
			t.Errorf("Leave after Stop: %v", err)
		}
		e.noneLeft()
	})
	t.Run("at once", func(t *testing.T) {
		for range 10 {
			e := newEnv(t)
			s := start(t, e.dir)
			var wg sync.WaitGroup
			var left [3]error
			for i := range left {
				wg.Go(func() { left[i] = s.Leave() })
			}
			wg.Go(func() { noErr(t, s.Stop()) })
			wg.Wait()
			kept := len(e.left()) > 0
			for _, err := range left {
				if kept && err != nil || !kept && !errors.Is(err, dsm.ErrNoInstance) {
					t.Errorf("kept %v, and Leave says %v", kept, err)
				}
			}
			noErr(t, start(t, e.dir).Stop())
			e.noneLeft()
		}
	})
	t.Run("unstarted", func(t *testing.T) {
		if err := new(supervisor.Supervisor).Leave(); !errors.Is(err, dsm.ErrNoInstance) {
			t.Errorf("Leave of the zero Supervisor: %v", err)
		}
	})
}

// left are the files that tell of a supervisor which has left.
func (e env) left() []string {
	list, _ := filepath.Glob(filepath.Join(e.dir, "left.*"))
	return list
}

// TestLeaveThatIsNoCrash: on_crash = restart is about sessions that die, also those that do so while no process watches.
func TestLeaveThatIsNoCrash(t *testing.T) {
	e := newEnv(t)
	sup, first := e.supervise("on_crash", "restart")
	a := e.session()
	leave(t, sup)
	sup, second := e.supervise("on_crash", "restart")
	if first != second {
		t.Errorf("generation %s after %s, and no session has died", second, first)
	}
	check(a)
	leave(t, sup)
	e.session().Kill()
	third := instancetest.Start(t, config(e.dir, []string{"on_crash", "restart"}))
	instancetest.Eventually(t, "a generation begins, since a session has died", func() bool {
		r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
		return err == nil && r.Status.Generation > 1 && len(r.Sessions) == 0
	})
	noErr(t, third.Leave())
	noErr(t, third.Stop())
	noErr(t, instancetest.Start(t, config(e.dir, []string{"on_crash", "restart"})).Stop())
	a.Send("done")
	if line, _ := a.Line(); line == "" {
		t.Error("the session was not fenced")
	}
}

// TestLeaveThatIsRefused: the supervisor goes on where it can't be written down that it has left.
func TestLeaveThatIsRefused(t *testing.T) {
	e := newEnv(t)
	s := instancetest.Start(t, config(e.dir, nil))
	block := filepath.Join(e.dir, "left."+dsmimpl.LifeText(instancetest.Life(t, e.dir))+".new", "in the way")
	noErr(t, os.MkdirAll(block, 0o700))
	if err := s.Leave(); err == nil {
		t.Fatal("Leave succeeds, and nothing tells the next supervisor")
	}
	if st, err := s.Status(ctx); err != nil || !st.Supervised {
		t.Errorf("%+v, %v", st, err)
	}
	create(t, e.open(), 100)
	noErr(t, os.RemoveAll(filepath.Dir(block)))
	if runtime.GOOS != "windows" {
		away := e.dir + ".away"
		noErr(t, os.Rename(e.dir, away))
		if err := s.Leave(); err == nil {
			t.Fatal("Leave succeeds in a directory that was moved")
		}
		noErr(t, os.Rename(away, e.dir))
	}
	noErr(t, s.Leave())
	noErr(t, instancetest.Start(t, config(e.dir, nil)).Stop())
}

// TestLeavePrivate: the last session removes the instance or, if there is none, the supervisor that leaves.
func TestLeavePrivate(t *testing.T) {
	instancetest.StateHome(t)
	for _, sessions := range []bool{true, false} {
		s, err := supervisor.StartPrivate(ctx, config("", nil))
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Status(ctx)
		noErr(t, err)
		lives := instancetest.Lives(t, st.Dir)
		if sessions {
			session := proctest.Start(t, "session", st.Dir)
			session.Expect("open")
			noErr(t, s.Leave())
			check(session)
			noErr(t, session.Close())
		} else {
			noErr(t, s.Leave())
		}
		if _, err := os.Stat(st.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("sessions %v: the directory is left: %v", sessions, err)
		}
		if left := objectlist.Objects(lives, ""); len(left) > 0 {
			t.Errorf("sessions %v: left behind: %v", sessions, left)
		}
	}
}

// TestLeaveAndCopies: the memory is the original directory's, not a copy's.
func TestLeaveAndCopies(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		keepsAlone(t, backend)
		if runtime.GOOS == "windows" {
			t.Skip("no cp")
		}
		t.Parallel()
		e := newEnv(t)
		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		a := e.session()
		pinned := e.create(a, 4096, 1)
		a.Send("pin %s", pinned)
		a.Expect("pinned")
		noErr(t, a.Close())
		leave(t, sup)
		copied := filepath.Join(instancetest.TempDir(t), "copy")
		if out, err := exec.Command("cp", "-a", e.dir, copied).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		other := proctest.Start(t, "supervise", copied, "dynamic_shared_memory_type", backend)
		if g := other.Expect("ready "); g == generation {
			t.Error("the copy has adopted what the original was left with")
		}
		noErr(t, other.Close())
		_, same := e.supervise("dynamic_shared_memory_type", backend)
		b := e.session()
		b.Send("attach %s", pinned)
		if line, _ := b.Line(); line != "attached" || same != generation {
			t.Errorf("%s, generation %s after %s", line, same, generation)
		}
	})
}
