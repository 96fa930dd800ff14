//go:build linux

package supervisor_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/supervisor"
)

// TestSharedMmapDirectory: two instances keep their files in one directory, beside other
// people's; neither's start touches the other's.
func TestSharedMmapDirectory(t *testing.T) {
	shared := instancetest.TempDir(t)
	theirs := []string{"notes.txt", "0000000000000000000000000000", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
		strings.Repeat("a", 29)}
	for _, name := range theirs {
		if err := os.WriteFile(filepath.Join(shared, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := []string{"dynamic_shared_memory_type", "mmap", "mmap_directory", shared}
	a, b := newEnv(t), newEnv(t)
	supA, _ := a.supervise(settings...)
	b.supervise(settings...)
	count := func(e env) int { return len(objectlist.Objects(instancetest.Lives(t, e.dir), shared)) }
	sa, sb := a.session(), b.session()
	a.create(sa, 100, 5)
	b.create(sb, 100, 7)
	supA.Kill()
	sa.Kill()
	if count(a) != 6 || count(b) != 8 {
		t.Fatalf("%d and %d files", count(a), count(b))
	}
	supA, _ = a.supervise()             // by default elsewhere: the last life's directory is remembered
	if count(a) != 1 || count(b) != 8 { // the new control segment is on the shm mount
		t.Errorf("after the start: %d and %d files", count(a), count(b))
	}
	noErr(t, supA.Close())
	check(sb)
	for _, name := range theirs {
		if got, err := os.ReadFile(filepath.Join(shared, name)); string(got) != "mine" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// keptBackend is posix as if its objects needed a process to keep them open: a backend of one's
// own, with pins as on Windows.
type keptBackend struct {
	dsmimpl.Backend
	mu   sync.Mutex
	kept map[uintptr]dsmimpl.Mapping
	next uintptr
}

func init() { ownBackends["kept"] = newKeptBackend() }

func newKeptBackend() *keptBackend {
	return &keptBackend{Backend: posix.New(), kept: map[uintptr]dsmimpl.Mapping{}}
}

func (*keptBackend) Name() string { return "kept" }

func (b *keptBackend) Keep(o dsmimpl.Object) (uintptr, error) {
	m, err := b.Attach(context.Background(), o, dsmimpl.ReadOnly)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	b.kept[b.next] = m
	return b.next, nil
}

func (b *keptBackend) Release(token uintptr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.kept[token]
	if !ok {
		return errors.New("no such token")
	}
	delete(b.kept, token)
	return b.Detach(m)
}

func (b *keptBackend) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.kept)
}

func TestOwnBackendWithPins(t *testing.T) {
	backend := newKeptBackend()
	cfg := dsm.Config{Dir: instancetest.TempDir(t), Backend: backend, Logger: instancetest.Logger(t)}
	sup := instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	if st, err := s.Status(ctx); err != nil || st.Backend != "kept" {
		t.Errorf("backend %q, %v", st.Backend, err)
	}
	g := create(t, s, 100)
	if err := g.Pin(ctx); err != nil { // returns when the supervisor has it
		t.Fatal(err)
	}
	if n := backend.held(); n != 1 {
		t.Errorf("the supervisor keeps %d objects", n)
	}
	if err := g.Unpin(ctx); err != nil {
		t.Fatal(err)
	}
	instancetest.Eventually(t, "the supervisor lets it go", func() bool { return backend.held() == 0 })
	if err := g.Pin(ctx); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.Pin(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Pin with a context that is over = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sup.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := backend.held(); n != 0 {
		t.Errorf("after the stop %d objects are kept", n)
	}
}

func TestPinWithoutSupervisor(t *testing.T) {
	backend := newKeptBackend()
	e := newEnv(t)
	sup, _ := e.supervise("own_backend", "kept")
	s := instancetest.Open(t, dsm.Config{Dir: e.dir, Backend: backend})
	g := create(t, s, 100)
	sup.Kill()
	if err := g.Pin(ctx); !errors.Is(err, dsm.ErrNoInstance) {
		t.Errorf("Pin without a supervisor = %v, want ErrNoInstance", err)
	}
	list, err := s.Segments(ctx)
	if err != nil || len(list) != 1 || list[0].Pinned {
		t.Errorf("%+v, %v", list, err)
	}
	noErr(t, s.Close())
	sup, _ = e.supervise("own_backend", "kept")
	_ = sup.Close()
}

// TestReclaimWithoutSupervisor: a Close and a full table reclaim the dead by themselves (an Open
// is in TestSupervisorKilled).
func TestReclaimWithoutSupervisor(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("max_segments", "50")
	s := e.open()
	a, b := e.session(), e.session()
	e.create(a, 100, 40)
	sup.Kill()
	a.Kill()
	for i := range 30 { // 40 of 50 rows are the dead one's
		if _, err := s.Create(ctx, s.Owner(), 100); err != nil {
			t.Fatalf("Create %d: %v", i, err)
		}
	}
	if r := e.report(); len(r.Sessions) != 2 || len(r.Segments) != 30 {
		t.Errorf("%d sessions, %d segments", len(r.Sessions), len(r.Segments))
	}
	e.create(b, 100, 5)
	b.Kill()
	other := e.open()
	c := e.session()
	e.create(c, 100, 5)
	c.Kill()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if r := e.report(); len(r.Sessions) != 1 || len(r.Segments) != 30 {
		t.Errorf("after a Close: %d sessions, %d segments", len(r.Sessions), len(r.Segments))
	}
	_ = s.Close()
	sup, _ = e.supervise()
	_ = sup.Close()
}

// TestFullProcessTableOfTheDead: a process table full of dead sessions, and only the newcomer to reclaim them.
func TestFullProcessTableOfTheDead(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("max_processes", "3")
	keeper := e.session()
	a, b := e.session(), e.session()
	e.create(a, 100, 5)
	e.create(b, 100, 5)
	sup.Kill()
	a.Kill()
	b.Kill()
	c := e.session()
	if r := e.report(); len(r.Sessions) != 2 || len(r.Segments) != 0 || e.objects() != 0 {
		t.Errorf("%d sessions, %d segments, %d objects", len(r.Sessions), len(r.Segments), e.objects())
	}
	c.Kill()
	keeper.Kill()
	sup, _ = e.supervise("max_processes", "3")
	_ = sup.Close()
}

// holdLock makes the control lock look as if a session held it: the word is at offset 1152, row
// plus one over 20 bits of incarnation.
func holdLock(t *testing.T, dir string, row, incarnation uint32) {
	t.Helper()
	garble(t, dir, 1152, (row+1)<<20|incarnation)
}

// garble stores a word in the control segment of the first generation.
func garble(t *testing.T, dir string, at int64, word uint32) {
	t.Helper()
	m, _ := filepath.Glob("/dev/shm/" + idPrefix(t, dir) + "*0000000001zzz")
	if len(m) != 1 {
		t.Fatalf("control segment: %v", m)
	}
	f, err := os.OpenFile(m[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint32(nil, word), at); err != nil {
		t.Fatal(err)
	}
}

// TestStoppedLockHolder: no session waits without bound for a stopped process that holds the control lock, and it is
// named.
func TestStoppedLockHolder(t *testing.T) {
	e := newEnv(t)
	sup, _ := e.supervise("shutdown_timeout", "100ms")
	holder := e.session()
	e.create(holder, 100, 3)
	s := e.open()
	g := create(t, s, 10)
	if err := holder.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	holdLock(t, e.dir, 1, 1)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := s.Create(short, s.Owner(), 10)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("held by process %d (session helper)", holder.Pid)) ||
		!strings.Contains(err.Error(), "is stopped: continue or kill it") ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Create beside a stopped holder = %v", err)
	}
	if r := e.report(); r.Status.LockHolder == nil || r.Status.LockHolder.Pid != holder.Pid ||
		r.Status.LockHolder.State != "stopped" || len(r.Segments) != 4 {
		t.Errorf("%+v", r.Status)
	}
	if err := g.Detach(); err != nil { // never fails; the reference is given back later
		t.Errorf("Detach = %v", err)
	}
	if _, err := s.Attach(short, s.Owner(), g.Handle()); err == nil {
		t.Error("attached with a context that is over")
	}
	again, err := s.Attach(ctx, s.Owner(), g.Handle()) // it still has the reference, so it needs no lock
	if err != nil {
		t.Errorf("Attach of a lingering segment = %v", err)
	} else {
		_ = again.Detach()
	}
	if err := sup.Close(); err != nil { // by force: everything goes though the lock is unavailable
		t.Errorf("Stop: %v", err)
	}
	e.noneLeft()
	<-s.Done()
	_ = holder.Cmd.Process.Signal(syscall.SIGCONT)
	check(holder)
}

// TestDeadLockHolder: the next one takes the lock over.
func TestDeadLockHolder(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	victim := e.session()
	e.create(victim, 100, 3)
	s := e.open()
	if err := victim.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	holdLock(t, e.dir, 1, 1)
	victim.Kill()
	if _, err := s.Create(ctx, s.Owner(), 10); err != nil {
		t.Error(err)
	}
	instancetest.Eventually(t, "the dead one is reclaimed", func() bool {
		r := e.report()
		return len(r.Sessions) == 1 && len(r.Segments) == 1
	})
}

// TestRemovedBehindOurBack: another program, as systemd's RemoveIPC, removes the objects under a running instance.
func TestRemovedBehindOurBack(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	a, b := e.open(), e.open()
	g := create(t, a, 100)
	if err := os.Remove(e.report().Segments[0].OSName); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach(ctx, b.Owner(), g.Handle()); !errors.Is(err, dsm.ErrNotFound) {
		t.Errorf("Attach = %v, want ErrNotFound", err)
	}
	g.Bytes()[0] = 1 // a session that has it mapped keeps it
	if err := g.Detach(); err != nil {
		t.Errorf("Detach = %v", err)
	}
	if r := e.report(); len(r.Segments) != 0 {
		t.Errorf("a row is left: %+v", r.Segments)
	}
}

// taken is posix on a system where another program has the name of the first control segment.
type taken struct {
	dsmimpl.Backend
	names *atomic.Int32
}

func (b taken) Name() string { return "taken" }

func (b taken) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if o.Handle == dsmimpl.ControlHandle && b.names.Add(-1) >= 0 {
		return dsmimpl.Mapping{}, 0, os.ErrExist
	}
	return b.Backend.Create(ctx, o)
}

// TestControlNameTaken: a start that meets another object under its control segment's name draws another life.
func TestControlNameTaken(t *testing.T) {
	cfg := instancetest.Config(t, "taken")
	names := &atomic.Int32{}
	names.Store(3)
	cfg.Backend = taken{posix.New(), names}
	s, err := supervisor.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if names.Load() != -1 {
		t.Errorf("%d names were tried", 3-names.Load())
	}
	if lives := instancetest.Lives(t, cfg.Dir); len(lives) != 4 {
		t.Errorf("lives: %v", lives)
	}
	noErr(t, s.Stop())
	if left := objectlist.Objects(instancetest.Lives(t, cfg.Dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
