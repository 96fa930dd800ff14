package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/eye"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/internal/leaktest"
	"github.com/godsm/godsm/internal/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	proctest.Register("supervise", superviseHelper)
	proctest.Register("session", sessionHelper)
	proctest.Register("run", runHelper)
	proctest.Main(m)
}

// pairs are settings as arguments: name value name value ...
func config(dir string, pairs []string) dsm.Config {
	cfg := dsm.Config{Dir: dir, Settings: map[string]string{"max_processes": "20", "max_segments": "1200", "shutdown_timeout": "1s"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "own_backend" {
			cfg.Backend = ownBackends[pairs[i+1]]
			continue
		}
		cfg.Settings[pairs[i]] = pairs[i+1]
	}
	return cfg
}

// ownBackends are those that tests plug in, by name.
var ownBackends = map[string]dsmimpl.Backend{}

// superviseHelper: DIR [NAME VALUE]...
func superviseHelper(c *proctest.Child) error {
	s, err := supervisor.Start(ctx, config(c.Args[0], c.Args[1:]))
	if err != nil {
		c.Say("error %v", err)
		return nil
	}
	st, err := s.Status(ctx)
	if err != nil {
		return err
	}
	c.Say("ready %d", st.Generation)
	c.Hear()
	return s.Stop()
}

// sessionHelper: DIR; then it does what it hears.
func sessionHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "session helper"})
	if err != nil {
		c.Say("error %v", err)
		return nil
	}
	c.Say("open")
	segments := map[dsm.Handle]*dsm.Segment{}
	answer := func(what any, err error) {
		if err != nil {
			what = fmt.Sprintf("error %v", err)
		}
		c.Say("%v", what)
	}
	for {
		line, ok := c.Hear()
		if !ok {
			return s.Close()
		}
		f := strings.Fields(line)
		switch f[0] {
		case "create": // SIZE COUNT
			size, _ := strconv.Atoi(f[1])
			n, _ := strconv.Atoi(f[2])
			var last dsm.Handle
			for range n {
				g, err := s.Create(ctx, s.Owner(), size)
				if err != nil {
					return err
				}
				last = g.Handle()
				segments[last] = g
				copy(g.Bytes(), last.String())
			}
			answer(last, nil)
		case "attach":
			h, _ := dsm.ParseHandle(f[1])
			g, err := s.Attach(ctx, s.Owner(), h)
			if err == nil {
				segments[h] = g
				if !strings.HasPrefix(string(g.Bytes()), h.String()) {
					err = errors.New("wrong bytes")
				}
			}
			answer("attached", err)
		case "pin":
			h, _ := dsm.ParseHandle(f[1])
			answer("pinned", segments[h].Pin(ctx))
		case "check": // all bytes are still there
			var err error
			for h, g := range segments {
				if !strings.HasPrefix(string(g.Bytes()), h.String()) {
					err = fmt.Errorf("wrong bytes in %s", h)
				}
			}
			answer("good", err)
		case "done":
			<-s.Done()
			answer(nil, s.Err())
		case "close":
			err := s.Close()
			answer("closed", err)
			return nil
		}
	}
}

// startSupervisor runs one in a process of its own. At the test's end it is stopped, and then nothing may be left.
func startSupervisor(t *testing.T, dir string, pairs ...string) (p *proctest.Process, generation string) {
	t.Helper()
	instancetest.NoneLeft(t, dir)
	p = proctest.Start(t, "supervise", append([]string{dir}, pairs...)...)
	t.Cleanup(func() { _ = p.Close() })
	return p, p.Expect("ready ")
}

func startSession(t *testing.T, dir string) *proctest.Process {
	t.Helper()
	p := proctest.Start(t, "session", dir)
	p.Expect("open")
	return p
}

func (e env) create(p *proctest.Process, size, n int) (last string) {
	e.t.Helper()
	p.Send("create %d %d", size, n)
	l, _ := p.Line()
	if strings.HasPrefix(l, "error") {
		e.t.Fatal(l)
	}
	return l
}

type env struct {
	t   *testing.T
	dir string
}

func (e env) report() dsm.Report {
	e.t.Helper()
	r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e env) objects() int { return instancetest.Objects(e.t, e.dir) }

// TestKilledSession: what a killed session alone held goes, at once; everybody else carries on.
func TestKilledSession(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := env{t, instancetest.TempDir(t)}
		startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		victim, survivor := startSession(t, e.dir), startSession(t, e.dir)
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
		instancetest.Eventually(t, "the dead session's row is gone", func() bool { return len(e.report().Sessions) == 1 })
		instancetest.Eventually(t, "its objects are gone", func() bool { return e.objects() == 3 })
		instancetest.Eventually(t, "their rows are gone", func() bool { return len(e.report().Segments) == 3 })
		for _, s := range e.report().Segments {
			want := map[string]int{shared: 1, own: 1, pinned: 1}[s.Handle.String()]
			if s.Refs != want || s.State != "live" {
				t.Errorf("%s: %+v", s.Handle, s)
			}
		}
		survivor.Send("check")
		survivor.Expect("good")
		survivor.Send("attach %s", pinned)
		survivor.Expect("attached")
	})
}

// TestEverybodyKilled: the next start leaves nothing of 500 segments, and touches nothing else.
func TestEverybodyKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := env{t, instancetest.TempDir(t)}
		other := env{t, instancetest.TempDir(t)}
		startSupervisor(t, other.dir, "dynamic_shared_memory_type", backend)
		foreign := startSession(t, other.dir)
		other.create(foreign, 100, 10)

		sup, generation := startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		a, b := startSession(t, e.dir), startSession(t, e.dir)
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
		sup, next := startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		if n := e.objects(); n != 0 {
			t.Errorf("%d objects after the next start", n)
		}
		if next <= generation {
			t.Errorf("generation %s after %s", next, generation)
		}
		foreign.Send("check")
		foreign.Expect("good")
		if n := other.objects(); n != 10 {
			t.Errorf("%d of the other instance's objects are left", n)
		}
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		if left := eye.Objects(instancetest.ID(t, e.dir), filepath.Join(e.dir, "mmap")); len(left) > 0 {
			t.Errorf("after the stop: %v", left)
		}
	})
}

// TestSupervisorKilled: sessions work on without it and reclaim each other's dead; the next supervisor adopts them.
func TestSupervisorKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := env{t, instancetest.TempDir(t)}
		sup, generation := startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		a, b := startSession(t, e.dir), startSession(t, e.dir)
		first := e.create(a, 100, 1)
		pinned := e.create(a, 100, 1)
		a.Send("pin %s", pinned)
		a.Expect("pinned")
		sup.Kill()
		e.create(a, 100, 1)
		b.Send("attach %s", first)
		b.Expect("attached")
		dead := startSession(t, e.dir)
		e.create(dead, 100, 5)
		dead.Kill()
		if n := len(e.report().Sessions); n != 3 {
			t.Fatalf("%d sessions, though nobody could have reclaimed", n)
		}
		c := startSession(t, e.dir) // its Open reclaims
		if r := e.report(); len(r.Sessions) != 3 || len(r.Segments) != 3 || r.Status.Supervised {
			t.Errorf("after an Open: %d sessions, %d segments, %+v", len(r.Sessions), len(r.Segments), r.Status)
		}
		c.Kill()
		sup, again := startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		if again != generation {
			t.Errorf("generation %s after %s: not adopted", again, generation)
		}
		if r := e.report(); len(r.Sessions) != 2 || len(r.Segments) != 3 || r.Status.Supervisor != sup.Pid {
			t.Errorf("after the adoption: %+v", r)
		}
		a.Send("check")
		a.Expect("good")
		a.Send("done")
		b.Kill()
		instancetest.Eventually(t, "the new supervisor reclaims", func() bool { return len(e.report().Sessions) == 1 })
		if err := sup.Close(); err != nil { // an orderly stop
			t.Error(err)
		}
		a.Expect("error the instance has stopped")
		a.Kill() // on Windows what it has mapped keeps its name
	})
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	dir := instancetest.TempDir(t)
	first, _ := startSupervisor(t, dir)
	_, err := supervisor.Start(ctx, config(dir, nil))
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
	s, err := supervisor.Start(ctx, config(dir, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	<-s.Done()
}

// TestDamage: whatever has become of an instance's files and control segment, the start succeeds and leaves nothing of the old life.
func TestDamage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the control segment is a file on Linux alone")
	}
	instance := func(dir string) string { return filepath.Join(dir, "instance") }
	control := func(t *testing.T, dir string) string {
		m, _ := filepath.Glob("/dev/shm/" + idPrefix(t, dir) + "*0000000001zzz")
		if len(m) != 1 {
			t.Fatalf("control segment: %v", m)
		}
		return m[0]
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string) error
	}{
		{"nothing", func(*testing.T, string) error { return nil }},
		{"control segment truncated to 0", func(t *testing.T, d string) error { return os.Truncate(control(t, d), 0) }},
		{"control segment truncated", func(t *testing.T, d string) error { return os.Truncate(control(t, d), 5000) }},
		{"control segment zeroed", func(t *testing.T, d string) error { return overwrite(control(t, d), 0) }},
		{"control segment garbled", func(t *testing.T, d string) error { return overwrite(control(t, d), 0xa5) }},
		{"control segment's rows garbled", func(t *testing.T, d string) error { return overwriteFrom(control(t, d), 1152, 0x5a) }},
		{"control segment missing", func(t *testing.T, d string) error { return os.Remove(control(t, d)) }},
		{"instance file empty", func(t *testing.T, d string) error { return os.Truncate(instance(d), 0) }},
		{"instance file garbage", func(t *testing.T, d string) error { return os.WriteFile(instance(d), []byte("garbage\n"), 0o600) }},
		{"instance file missing", func(t *testing.T, d string) error { return os.Remove(instance(d)) }},
		{"id file missing", func(t *testing.T, d string) error { return os.Remove(filepath.Join(d, "id")) }},
		{"members file missing", func(t *testing.T, d string) error { return os.Remove(filepath.Join(d, "members.1")) }},
		{"members file replaced", func(t *testing.T, d string) error {
			path := filepath.Join(d, "members.1")
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		}},
		{"members file a directory", func(t *testing.T, d string) error {
			path := filepath.Join(d, "members.1")
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}},
	} {
		for _, sessions := range []string{"dead", "alive"} {
			t.Run(c.name+"/sessions "+sessions, func(t *testing.T) {
				e := env{t, instancetest.TempDir(t)}
				sup, _ := startSupervisor(t, e.dir)
				a := startSession(t, e.dir)
				e.create(a, 4096, 20)
				id := instancetest.ID(t, e.dir)
				if err := c.damage(t, e.dir); err != nil {
					t.Fatal(err)
				}
				sup.Kill()
				if sessions == "dead" {
					a.Kill()
				}
				s, err := supervisor.Start(ctx, dsm.Config{Dir: e.dir, Settings: config("", nil).Settings, Logger: instancetest.Logger(t)})
				if err != nil {
					t.Fatal(err)
				}
				st, err := s.Status(ctx)
				if err != nil || st.Instance != id {
					t.Errorf("instance %v, %v; it was %v", st.Instance, err, id)
				}
				if sessions == "alive" && st.Generation != 1 { // fenced: it keeps its bytes and can do no harm
					a.Send("check")
					a.Expect("good")
					a.Send("done")
					a.Expect("error the instance has stopped or begun a new generation")
				}
				if n := e.objects(); st.Generation != 1 && n != 0 {
					t.Errorf("%d objects of the old life are left", n)
				}
				b := instancetest.Open(t, dsm.Config{Dir: e.dir})
				if _, err := b.Create(ctx, b.Owner(), 100); err != nil {
					t.Error(err)
				}
				if sessions == "alive" {
					a.Send("close")
					a.Expect("closed")
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
				if left := eye.Objects(id); len(left) != 0 {
					t.Errorf("after the stop: %v", left)
				}
			})
		}
	}
}

func idPrefix(t *testing.T, dir string) string {
	for _, o := range eye.Objects(instancetest.ID(t, dir)) {
		return filepath.Base(o)[:12]
	}
	return "none"
}

func overwrite(path string, with byte) error { return overwriteFrom(path, 0, with) }

func overwriteFrom(path string, from int64, with byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, info.Size()-from)
	for i := range b {
		b[i] = with
	}
	_, err = f.WriteAt(b, from)
	return err
}

// TestCopiedDirectory: a start on a copy of a live instance's directory changes nothing of the original.
func TestCopiedDirectory(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := env{t, instancetest.TempDir(t)}
		startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		a := startSession(t, e.dir)
		e.create(a, 100, 10)
		dup := env{t, instancetest.TempDir(t) + "/copy"}
		if err := os.CopyFS(dup.dir, os.DirFS(e.dir)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(filepath.Dir(dup.dir)) })
		startSupervisor(t, dup.dir, "dynamic_shared_memory_type", backend)
		if instancetest.ID(t, e.dir) == instancetest.ID(t, dup.dir) {
			t.Error("the copy has the original's id")
		}
		if n := e.objects(); n != 10 {
			t.Errorf("%d of the original's 10 objects are left", n)
		}
		if files, _ := os.ReadDir(filepath.Join(dup.dir, "mmap")); backend == "mmap" && len(files) != 1 {
			t.Errorf("the copy has %d files, want only its control segment", len(files))
		}
		a.Send("check")
		a.Expect("good")
		e.create(a, 100, 1)
		if r := e.report(); len(r.Segments) != 11 || len(r.Sessions) != 1 {
			t.Errorf("%+v", r.Status)
		}
	})
}

func TestOtherBackendAtNextStart(t *testing.T) {
	e := env{t, instancetest.TempDir(t)}
	for i, backend := range append(catalog.Native(), catalog.Default()) {
		sup, generation := startSupervisor(t, e.dir, "dynamic_shared_memory_type", backend)
		if generation != fmt.Sprint(i+1) {
			t.Errorf("generation %s", generation)
		}
		if n := e.objects(); n != 0 {
			t.Errorf("%d objects of another backend are left", n)
		}
		a := startSession(t, e.dir)
		e.create(a, 100, 5)
		sup.Kill()
		a.Kill()
	}
	sup, _ := startSupervisor(t, e.dir)
	if err := sup.Close(); err != nil {
		t.Error(err)
	}
}

// TestRestartOnCrash: with on_crash = restart one crash ends the generation for all, as in PostgreSQL.
func TestRestartOnCrash(t *testing.T) {
	e := env{t, instancetest.TempDir(t)}
	sup, _ := startSupervisor(t, e.dir, "on_crash", "restart")
	a, b, leaver := startSession(t, e.dir), startSession(t, e.dir), startSession(t, e.dir)
	e.create(a, 100, 5)
	e.create(b, 100, 5)
	leaver.Send("close") // leaving is no crash
	leaver.Expect("closed")
	_ = leaver.Wait()
	b.Send("check")
	b.Expect("good")
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
	b.Send("check") // it keeps what it has mapped
	b.Expect("good")
	c := startSession(t, e.dir)
	e.create(c, 100, 1)
	sup.Kill()
	sup, generation := startSupervisor(t, e.dir, "on_crash", "restart")
	if generation != "3" {
		t.Errorf("generation %s after a supervisor that crashed", generation)
	}
	c.Send("done")
	c.Expect("error the instance has stopped or begun a new generation")
	b.Kill()
	c.Kill()
	if err := sup.Close(); err != nil {
		t.Error(err)
	}
}

// TestControlSegmentIsRemoved, as systemd's RemoveIPC does: nobody could join any more, so the next generation begins.
func TestControlSegmentIsRemoved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the control segment is a file on Linux alone")
	}
	e := env{t, instancetest.TempDir(t)}
	sup, _ := startSupervisor(t, e.dir)
	a := startSession(t, e.dir)
	e.create(a, 100, 5)
	for _, path := range eye.Objects(instancetest.ID(t, e.dir)) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	a.Send("done")
	a.Expect("error the instance has stopped or begun a new generation")
	startSession(t, e.dir).Kill()
	if err := sup.Close(); err != nil {
		t.Error(err)
	}
}

func TestStopWaitsForSessions(t *testing.T) {
	e := env{t, instancetest.TempDir(t)}
	sup, _ := startSupervisor(t, e.dir, "shutdown_timeout", "20s")
	s := instancetest.Open(t, dsm.Config{Dir: e.dir})
	g, err := s.Create(ctx, s.Owner(), 10)
	if err != nil {
		t.Fatal(err)
	}
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
	if err := g.Detach(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestStoppedLockHolder: nobody waits for ever for a stopped process that holds the control lock, and it is named.
func TestStopDespiteStoppedSession(t *testing.T) {
	e := env{t, instancetest.TempDir(t)}
	sup, _ := startSupervisor(t, e.dir, "shutdown_timeout", "100ms")
	a := startSession(t, e.dir)
	e.create(a, 100, 3)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	instancetest.Eventually(t, "it is seen to be stopped", func() bool {
		s := e.report().Sessions
		return len(s) == 1 && (s[0].State == "stopped" || runtime.GOOS != "linux") // elsewhere it can't be seen
	})
	if err := sup.Close(); err != nil {
		t.Error(err)
	}
	if n := len(eye.Objects(instancetest.ID(t, e.dir))); n != 0 && runtime.GOOS != "windows" { // as above
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
			id := instancetest.ID(t, dir)
			t.Cleanup(func() {
				if left := eye.Objects(id, filepath.Join(dir, "mmap")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
			return p, env{t, dir}
		}
		gone := func(dir string) bool { _, err := os.Stat(dir); return errors.Is(err, os.ErrNotExist) }
		orderly, o := start()
		killed, k := start()
		abandoned, a := start()
		last := startSession(t, a.dir) // a worker of the third
		if o.objects() != 5 || k.objects() != 5 || a.objects() != 5 {
			t.Error("objects are missing")
		}
		if err := orderly.Close(); err != nil {
			t.Error(err)
		}
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
		if err := next.Close(); err != nil {
			t.Error(err)
		}
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

// TestCleaningLocksOnlyTheDead: while a dead private instance is removed, one that has lost its supervisor and whose sessions live can be
// taken over. Before, it was kept locked until the removal was through.
func TestCleaningLocksOnlyTheDead(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	run := func(pairs ...string) (p *proctest.Process, path string) {
		p = proctest.Start(t, "run", pairs...)
		path = p.Expect("dir ")
		leaktest.None(t, instancetest.ID(t, path), filepath.Join(path, "mmap"))
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
	instancetest.Eventually(t, "the supervisor's lock is free", func() bool { return !dir.Locked() })

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
		for _, err := os.Stat(deadPath); err == nil; _, err = os.Stat(deadPath) { // a killed process seems to live for a moment
			instance.CleanPrivate(ctx, instance.Backends{Custom: ownBackends["slow"]}, instance.Who("test"), zerolog.Nop())
		}
	})
	<-begun
	if dir.Locked() {
		t.Error("an instance in which somebody lives is locked while another one is removed")
	}
	close(goOn)
	cleaning.Wait()
}

// TestLeavingDoesNotLock: a session that leaves a private instance whose supervisor is dead keeps nobody from taking over while
// others live there. Before, it held the directory's lock while it waited for them to be seen dead.
func TestLeavingDoesNotLock(t *testing.T) {
	instancetest.StateHome(t)
	p := proctest.Start(t, "run")
	path := p.Expect("dir ")
	dir, err := instance.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	leaktest.None(t, instancetest.ID(t, path), filepath.Join(path, "mmap"))
	stays, leaves := instancetest.Open(t, config(path, nil)), instancetest.Open(t, config(path, nil))
	p.Kill()
	instancetest.Eventually(t, "the supervisor's lock is free", func() bool { return !dir.Locked() })
	left := make(chan error, 1)
	go func() { left <- leaves.Close() }()
	for locked := 0; ; {
		if dir.Locked() {
			locked++
		}
		select {
		case err := <-left:
			if err != nil || locked > 0 {
				t.Errorf("Close: %v; the directory was seen locked %d times", err, locked)
			}
			if err := stays.Close(); err != nil { // the last one ends the instance
				t.Error(err)
			}
			return
		default:
		}
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
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
