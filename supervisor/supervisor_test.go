package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	proctest.Register("supervise", superviseHelper)
	proctest.Register("session", sessionHelper)
	proctest.Register("run", runHelper)
	proctest.Main(m)
}

// TestKilledSession: what a killed session alone held goes, at once; the other sessions go on.
func TestKilledSession(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		e.supervise("dynamic_shared_memory_type", backend)
		victim, survivor := e.session(), e.session()
		shared := e.create(victim, 4096, 1)
		pinned := e.create(victim, 4096, 1)
		e.create(victim, 4096, 998)
		own := e.create(survivor, 4096, 1)
		survivor.Send("attach %s", shared)
		survivor.Expect("attached")
		victim.Send("pin %s", pinned)
		victim.Expect("pinned")
		if r := e.report(); len(r.Segments) != 1001 || len(r.Sessions) != 2 || r.Status.Supervisor == 0 {
			t.Fatalf("before: %+v", r.Status)
		}
		victim.Kill()
		instancetest.Eventually(t, "the dead session's row is gone", func() bool {
			return len(e.report().Sessions) == 1
		})
		instancetest.Eventually(t, "its objects are gone", func() bool { return e.objects() == 3 })
		instancetest.Eventually(t, "their rows are gone", func() bool { return len(e.report().Segments) == 3 })
		for _, s := range e.report().Segments {
			want := map[string]int{shared: 1, own: 1, pinned: 1}[s.Handle.String()]
			if s.Refs != want || s.State != "live" {
				t.Errorf("%s: %+v", s.Handle, s)
			}
		}
		check(survivor)
		survivor.Send("attach %s", pinned)
		survivor.Expect("attached")
	})
}

// TestEverybodyKilled: the next start leaves nothing of 500 segments, and touches nothing else.
func TestEverybodyKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		other := newEnv(t)
		other.supervise("dynamic_shared_memory_type", backend)
		foreign := other.session()
		other.create(foreign, 100, 10)

		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.session(), e.session()
		h := e.create(a, 4096, 250)
		e.create(b, 4096, 250)
		a.Send("pin %s", h)
		a.Expect("pinned")
		sup.Kill()
		a.Kill()
		b.Kill()
		if n := e.objects(); n != 500 && backend != "windows" { // where the kernel has removed them
			t.Fatalf("%d objects after the kills", n)
		}
		sup, next := e.supervise("dynamic_shared_memory_type", backend)
		if n := e.objects(); n != 0 {
			t.Errorf("%d objects after the next start", n)
		}
		if next <= generation {
			t.Errorf("generation %s after %s", next, generation)
		}
		check(foreign)
		if n := other.objects(); n != 10 {
			t.Errorf("%d of the other instance's objects are left", n)
		}
		noErr(t, sup.Close())
		e.noneLeft()
	})
}

// TestSupervisorKilled: sessions work on without it and reclaim each other's dead; the next supervisor adopts them.
func TestSupervisorKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.session(), e.session()
		first := e.create(a, 100, 1)
		pinned := e.create(a, 100, 1)
		a.Send("pin %s", pinned)
		a.Expect("pinned")
		sup.Kill()
		e.create(a, 100, 1)
		b.Send("attach %s", first)
		b.Expect("attached")
		dead := e.session()
		e.create(dead, 100, 5)
		dead.Kill()
		if n := len(e.report().Sessions); n != 3 {
			t.Fatalf("%d sessions, though nobody could have reclaimed", n)
		}
		c := e.session() // its Open reclaims
		if r := e.report(); len(r.Sessions) != 3 || len(r.Segments) != 3 || r.Status.Supervised {
			t.Errorf("after an Open: %d sessions, %d segments, %+v", len(r.Sessions), len(r.Segments), r.Status)
		}
		c.Kill()
		sup, again := e.supervise("dynamic_shared_memory_type", backend)
		if again != generation {
			t.Errorf("generation %s after %s: not adopted", again, generation)
		}
		if r := e.report(); len(r.Sessions) != 2 || len(r.Segments) != 3 || r.Status.Supervisor != sup.Pid {
			t.Errorf("after the adoption: %+v", r)
		}
		check(a)
		a.Send("done")
		b.Kill()
		instancetest.Eventually(t, "the new supervisor reclaims", func() bool { return len(e.report().Sessions) == 1 })
		noErr(t, sup.Close()) // an orderly stop
		a.Expect("error the instance has stopped")
		a.Kill() // on Windows what it has mapped keeps its name
	})
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	e := newEnv(t)
	first, _ := e.supervise()
	_, err := supervisor.Start(ctx, config(e.dir, nil))
	if !errors.Is(err, dsm.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", first.Pid)) {
		t.Errorf("second supervisor: %v", err)
	}
	if _, ok := errors.AsType[*dsm.Error](err); !ok {
		t.Errorf("%T", err)
	}
	// A killed one is no holder, though its zombie is not reaped.
	if err := first.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s, err := supervisor.Start(ctx, config(e.dir, nil))
	if err != nil {
		t.Fatal(err)
	}
	noErr(t, s.Stop())
	<-s.Done()
}

func TestOtherBackendAtNextStart(t *testing.T) {
	e := newEnv(t)
	for i, backend := range append(catalog.Native(), catalog.Default()) {
		sup, generation := e.supervise("dynamic_shared_memory_type", backend)
		if generation != fmt.Sprint(i+1) {
			t.Errorf("generation %s", generation)
		}
		if n := e.objects(); n != 0 {
			t.Errorf("%d objects of another backend are left", n)
		}
		a := e.session()
		e.create(a, 100, 5)
		sup.Kill()
		a.Kill()
	}
	sup, _ := e.supervise()
	noErr(t, sup.Close())
}

// TestRestartOnCrash: with on_crash = restart one crash ends the generation for all, as in PostgreSQL.
func TestRestartOnCrash(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("on_crash", "restart")
	a, b, leaver := e.session(), e.session(), e.session()
	e.create(a, 100, 5)
	e.create(b, 100, 5)
	leaver.Send("close") // leaving is no crash
	leaver.Expect("closed")
	_ = leaver.Wait()
	check(b)
	b.Send("done")
	a.Kill()
	b.Expect("error the instance has stopped or begun a new generation")
	instancetest.Eventually(t, "a new generation is there", func() bool {
		r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
		return err == nil && r.Status.Generation == 2 && len(r.Sessions) == 0
	})
	if n := e.objects(); n != 0 && runtime.GOOS != "windows" { // there what is mapped has its name still
		t.Errorf("%d objects are left", n)
	}
	check(b) // it keeps what it has mapped
	c := e.session()
	e.create(c, 100, 1)
	sup.Kill()
	sup, generation := e.supervise("on_crash", "restart")
	if generation != "3" {
		t.Errorf("generation %s after a supervisor that crashed", generation)
	}
	c.Send("done")
	c.Expect("error the instance has stopped or begun a new generation")
	b.Kill()
	c.Kill()
	noErr(t, sup.Close())
}

func TestStopWaitsForSessions(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("shutdown_timeout", "20s")
	s := e.open()
	g := create(t, s, 10)
	stopped := make(chan error, 1)
	go func() { stopped <- sup.Close() }()
	<-s.Done()
	if !errors.Is(s.Err(), dsm.ErrStale) {
		t.Errorf("Err() = %v", s.Err())
	}
	select {
	case err := <-stopped:
		t.Errorf("the supervisor did not wait: %v", err)
	default:
	}
	g.Bytes()[0] = 1
	if _, err := s.Create(ctx, s.Owner(), 10); !errors.Is(err, dsm.ErrStale) {
		t.Errorf("Create = %v", err)
	}
	noErr(t, g.Detach())
	noErr(t, s.Close())
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestStopDespiteStoppedSession: no call waits for ever for a stopped process that holds the control lock, and it is
// named.
func TestStopDespiteStoppedSession(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("shutdown_timeout", "100ms")
	a := e.session()
	e.create(a, 100, 3)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	instancetest.Eventually(t, "it is seen to be stopped", func() bool {
		s := e.report().Sessions
		return len(s) == 1 && (s[0].State == "stopped" || runtime.GOOS != "linux") // elsewhere it can't be seen
	})
	noErr(t, sup.Close())
	if n := len(objectlist.Objects(instancetest.Lives(t, e.dir))); n != 0 && runtime.GOOS != "windows" { // as above
		t.Errorf("%d objects are left", n)
	}
}

func TestNone(t *testing.T) {
	_, err := supervisor.Start(ctx, config(instancetest.TempDir(t), []string{"dynamic_shared_memory_type", "none"}))
	if !errors.Is(err, dsm.ErrDisabled) {
		t.Errorf("Start = %v", err)
	}
}

func TestRefusedDirectories(t *testing.T) {
	file := filepath.Join(instancetest.TempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{file: "not a directory"}
	if runtime.GOOS != "windows" {
		open := instancetest.TempDir(t)
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		refused[open] = "can be written by others"
	}
	for dir, says := range refused {
		_, err := supervisor.Start(ctx, config(dir, nil))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", dir, err, says)
		}
	}
	if instancetest.OtherUsers() {
		theirs := instancetest.TempDir(t)
		if err := os.Chown(theirs, instancetest.Stranger, instancetest.Stranger); err != nil {
			t.Fatal(err)
		}
		if _, err := supervisor.Start(ctx, config(theirs, nil)); !errors.Is(err, dsm.ErrPermission) {
			t.Errorf("another user's directory: %v", err)
		}
	}
}

func TestRunWithoutFunction(t *testing.T) {
	if err := supervisor.Run(ctx, dsm.Config{}, nil); err == nil || !strings.Contains(err.Error(), "function to be run is nil") {
		t.Error(err)
	}
}

func TestCancelledStart(t *testing.T) {
	// A supervisor that is stopped in the middle of its start by a cancelled context leaves nothing.
	dir := instancetest.TempDir(t)
	over, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	s, err := supervisor.Start(over, config(dir, nil))
	if err == nil {
		_ = s.Stop()
	}
	s, err = supervisor.Start(ctx, config(dir, nil))
	if err != nil {
		t.Fatal(err)
	}
	instancetest.NoneLeft(t, dir)
	noErr(t, s.Stop())
}
