package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/google/uuid"
)

var ctx = context.Background()

// fakeWitness is the witness of all processes of a test; a row is dropped to let its process die.
type fakeWitness struct {
	mu   sync.Mutex
	held map[int]bool
}

func (f *fakeWitness) Take(row int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	free := !f.held[row]
	f.held[row] = true
	return free, nil
}

func (f *fakeWitness) Drop(row int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, row)
	return nil
}

func (f *fakeWitness) Held(row int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[row]
}

type world struct {
	*testing.T
	*Table
	witness *fakeWitness
	bytes   []byte
	pids    int
}

func newWorld(t *testing.T, l Limits) *world {
	t.Helper()
	b := make([]byte, Size(l))
	c := Constants{Instance: uuid.New(), Generation: 7, Backend: "posix", Dir: "/some/where", MembersDev: 1, MembersIno: 2, Limits: l}
	if err := Format(shm.NewRegion(b), c); err != nil {
		t.Fatal(err)
	}
	table, err := Open(shm.NewRegion(b))
	if err != nil {
		t.Fatal(err)
	}
	if table.Constants != c {
		t.Fatalf("constants came back as %+v, want %+v", table.Constants, c)
	}
	return &world{T: t, Table: table, witness: &fakeWitness{held: map[int]bool{}}, bytes: b}
}

func (w *world) who() Who {
	w.pids++
	return Who{Pid: w.pids, Application: fmt.Sprintf("app %d", w.pids), Since: time.Now()}
}

func (w *world) join() *Member {
	w.Helper()
	m, err := w.Join(ctx, w.witness, w.who())
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// die ends a member as a kill would.
func (w *world) die(m *Member) { _ = w.witness.Drop(m.Row()) }

func (w *world) create(m *Member, size int) Entry {
	w.Helper()
	e, err := m.Create(ctx, size, time.Now())
	if err == nil {
		err = m.Created(ctx, e, 0)
	}
	if err != nil {
		w.Fatal(err)
	}
	return e
}

func (w *world) reclaim(by, dead *Member) {
	w.Helper()
	if done, err := by.Reclaim(ctx, dead.Row(), dead.Incarnation()); !done || err != nil {
		w.Fatalf("Reclaim = %v, %v", done, err)
	}
}

func (w *world) owed(m *Member) []Entry {
	w.Helper()
	entries, err := m.Owed(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return entries
}

func (w *world) find(handle uint64) SegmentInfo {
	w.Helper()
	list, err := w.Segments()
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range list {
		if s.Handle == handle {
			return s
		}
	}
	return SegmentInfo{}
}

func (w *world) wantEmpty() {
	w.Helper()
	list, _ := w.Segments()
	rows, bytes, _ := w.Used()
	if len(list) != 0 || rows != 0 || bytes != 0 {
		w.Errorf("%d rows listed, %d counted, %d bytes: want none", len(list), rows, bytes)
	}
}

var small = Limits{Processes: 70, Segments: 8}

func TestLife(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	e, err := a.Create(ctx, 100, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if s := w.find(e.Handle); s.State != Creating || len(s.Holders) != 1 || s.Holders[0] != a.Row() || s.Size != 100 || s.Creator != "app 1" {
		t.Errorf("after Create: %+v", s)
	}
	if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref of a segment in creation = %v, want ErrNotFound", err)
	}
	if err := a.Created(ctx, e, 77); err != nil {
		t.Fatal(err)
	}
	f, err := b.Ref(ctx, e.Handle)
	if err != nil || f.Word != 77 || f.Size != 100 || f.CreatorPid != 1 {
		t.Fatalf("Ref = %+v, %v", f, err)
	}
	if last, err := a.Unref(ctx, e); last || err != nil {
		t.Fatalf("first Unref = %v, %v", last, err)
	}
	if last, err := b.Unref(ctx, f); !last || err != nil {
		t.Fatalf("last Unref = %v, %v", last, err)
	}
	if _, err := a.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref of a segment in destruction = %v, want ErrNotFound", err)
	}
	if err := a.Destroyed(ctx, e); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Destroyed by one who is not the agent = %v", err)
	}
	if err := b.Destroyed(ctx, f); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

func TestHandlesAreNotReused(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	seen := map[uint64]bool{}
	for range 100 {
		e := w.create(m, 1)
		if seen[e.Handle] || e.Handle == 0 || e.Handle>>16 == 0 {
			t.Fatalf("handle %#x", e.Handle)
		}
		seen[e.Handle] = true
		if last, _ := m.Unref(ctx, e); !last {
			t.Fatal("not last")
		}
		if err := m.Destroyed(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPin(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	e := w.create(m, 10)
	for range 2 {
		if err := m.Pin(ctx, e.Handle, false); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := m.Unref(ctx, e); last || err != nil {
		t.Fatalf("Unref of a pinned segment = %v, %v", last, err)
	}
	if _, err := m.Ref(ctx, e.Handle); err != nil {
		t.Fatal(err)
	}
	if _, last, err := m.Unpin(ctx, e.Handle); last || err != nil {
		t.Fatalf("Unpin of a held segment = %v, %v", last, err)
	}
	if _, _, err := m.Unpin(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Unpin = %v, want ErrNotFound", err)
	}
	_ = m.Pin(ctx, e.Handle, false)
	_, _ = m.Unref(ctx, e)
	f, last, err := m.Unpin(ctx, e.Handle)
	if !last || err != nil || f.Handle != e.Handle {
		t.Fatalf("Unpin of a segment that nobody holds = %+v, %v, %v", f, last, err)
	}
	if err := m.Destroyed(ctx, f); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

func TestPinWithKeeper(t *testing.T) {
	w := newWorld(t, small)
	m, keeper := w.join(), w.join()
	e := w.create(m, 10)
	if err := m.Pin(ctx, e.Handle, true); err != nil {
		t.Fatal(err)
	}
	if awaits, err := w.AwaitsKeeper(e.Handle); !awaits || err != nil {
		t.Errorf("AwaitsKeeper before it came = %v, %v", awaits, err)
	}
	if wanted, err := keeper.Kept(ctx, e.Handle); !wanted || err != nil {
		t.Errorf("Kept = %v, %v", wanted, err)
	}
	if awaits, _ := w.AwaitsKeeper(e.Handle); awaits {
		t.Error("not pinned after Kept")
	}
	_, _, _ = m.Unpin(ctx, e.Handle)
	if wanted, _ := keeper.Kept(ctx, e.Handle); wanted {
		t.Error("still wanted after Unpin")
	}
}

func TestLimits(t *testing.T) {
	l := Limits{Processes: 3, Segments: 3, SegmentsPerProcess: 2, Memory: 1000, MemoryPerProcess: 600}
	w := newWorld(t, l)
	a, b, c := w.join(), w.join(), w.join()
	full := func(m *Member, size int, want error, says string) {
		t.Helper()
		before, _, _ := w.Used()
		_, err := m.Create(ctx, size, time.Now())
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("Create = %v, want %v saying %q", err, want, says)
		}
		if after, _, _ := w.Used(); after != before {
			t.Error("the refused Create left a row")
		}
	}
	first := w.create(a, 500)
	full(a, 101, ErrQuota, "max_memory_per_process = 600")
	full(b, 501, ErrQuota, "max_memory = 1000")
	w.create(a, 100)
	full(a, 1, ErrQuota, "max_segments_per_process = 2")
	if _, err := b.Ref(ctx, first.Handle); err != nil {
		t.Fatal(err)
	}
	full(b, 101, ErrQuota, "max_memory_per_process")
	w.create(c, 1)
	full(c, 1, ErrTooManySegments, "max_segments")
	if _, err := w.Join(ctx, w.witness, w.who()); !errors.Is(err, ErrTooManyProcesses) || !strings.Contains(err.Error(), "max_processes") {
		t.Errorf("Join with a full table = %v", err)
	}
	// One freed in the middle: the next create works.
	_, _ = b.Unref(ctx, first)
	if last, err := a.Unref(ctx, first); !last || err != nil {
		t.Fatal(last, err)
	}
	_ = a.Destroyed(ctx, first)
	w.create(b, 500)
}

func TestReclaimGivesBackTheDeadOnesAlone(t *testing.T) {
	w := newWorld(t, small)
	dead, other, sup := w.join(), w.join(), w.join()
	onlyDead, both, pinned := w.create(dead, 1), w.create(dead, 1), w.create(dead, 1)
	othersOwn := w.create(other, 1)
	_, _ = other.Ref(ctx, both.Handle)
	_ = dead.Pin(ctx, pinned.Handle, false)
	creating, _ := dead.Create(ctx, 1, time.Now())
	destroying := w.create(dead, 1)
	_, _ = dead.Unref(ctx, destroying)

	if done, _ := sup.Reclaim(ctx, dead.Row(), dead.Incarnation()); done {
		t.Fatal("a living member was reclaimed")
	}
	w.die(dead)
	if done, _ := sup.Reclaim(ctx, dead.Row(), dead.Incarnation()+1); done {
		t.Fatal("another incarnation was reclaimed")
	}
	w.reclaim(sup, dead)
	if w.Reclaims() != 1 {
		t.Errorf("counted %d reclaims", w.Reclaims())
	}
	got := map[uint64]bool{}
	for _, e := range w.owed(sup) {
		got[e.Handle] = true
		if err := sup.Destroyed(ctx, e); err != nil {
			t.Error(err)
		}
	}
	if len(got) != 3 || !got[onlyDead.Handle] || !got[creating.Handle] || !got[destroying.Handle] {
		t.Errorf("%d objects fell to the reclaimer, want the three that nobody keeps", len(got))
	}
	for _, keep := range []Entry{both, pinned, othersOwn} {
		if w.find(keep.Handle).State != Live {
			t.Error("a segment that somebody keeps is gone")
		}
	}
	if again, err := sup.Reclaim(ctx, dead.Row(), dead.Incarnation()); again || err != nil {
		t.Errorf("a second reclaim = %v, %v, want nothing to do", again, err)
	}
	if _, err := dead.Ref(ctx, both.Handle); !errors.Is(err, ErrStale) {
		t.Errorf("a call of the reclaimed member = %v, want ErrStale", err)
	}
}

// TestReclaimerDies: what fell to a reclaimer that died falls to its own.
func TestReclaimerDies(t *testing.T) {
	w := newWorld(t, small)
	dead, first, second := w.join(), w.join(), w.join()
	e := w.create(dead, 1)
	w.die(dead)
	w.reclaim(first, dead)
	if n := len(w.owed(first)); n != 1 {
		t.Fatalf("%d owed", n)
	}
	w.die(first)
	w.reclaim(second, first)
	owed := w.owed(second)
	if len(owed) != 1 || owed[0].Handle != e.Handle {
		t.Fatalf("the second reclaimer owes %v", owed)
	}
	if err := second.Destroyed(ctx, owed[0]); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

// TestDeathInSection stops a member inside sections, between two stores, and lets the next one in repair.
func TestDeathInSection(t *testing.T) {
	for _, c := range []struct {
		name string
		die  func(w *world, m *Member, e Entry) // in a section of m, which holds e
		left int                                // rows not free in the end
	}{
		{"before any store", func(*world, *Member, Entry) {}, 0},
		{"bit cleared, row still live", func(w *world, m *Member, e Entry) { w.clearBit(e.row(), m.row) }, 0},
		{"pin taken away", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].pin.Store(unpinned)
			w.clearBit(e.row(), m.row)
		}, 0},
		{"intent half written", func(w *world, m *Member, e Entry) {
			w.setBit(5, m.row)
			w.header.usedRows.Add(1)
		}, 0},
		{"backend's word written, checksum not", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].word.Store(m.stamp(Creating))
			w.segments[e.row()].osWord.Store(7)
		}, 0},
		{"made destroying", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].word.Store(m.stamp(Destroying))
		}, 0},
		{"pinned", func(w *world, m *Member, e Entry) { w.segments[e.row()].pin.Store(pinned) }, 1},
		{"row given up", func(w *world, m *Member, e Entry) {
			w.clearBit(e.row(), m.row)
			w.segments[e.row()].word.Store(segmentWord(Free, 0, 0))
			w.processes[m.row].word.Store(freedBy(m.incarnation))
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, small)
			m, next := w.join(), w.join()
			e := w.create(m, 10)
			s, err := m.enter(ctx, plain)
			if err != nil {
				t.Fatal(err)
			}
			_ = s
			c.die(w, m, e)
			w.die(m)
			f := w.create(next, 3)
			for _, o := range w.owed(next) {
				if err := next.Destroyed(ctx, o); err != nil {
					t.Error(err)
				}
			}
			_, _ = next.Unref(ctx, f)
			_ = next.Destroyed(ctx, f)
			if rows, bytes, _ := w.Used(); rows != c.left || bytes != uint64(10*c.left) {
				t.Errorf("%d rows, %d bytes left, want %d rows", rows, bytes, c.left)
			}
			if isUsed(w.processes[m.row].word.Load()) {
				t.Error("the dead member's row is still used")
			}
		})
	}
}

func TestPanicInSectionUnlocks(t *testing.T) {
	w := newWorld(t, small)
	m := w.join()
	err := func() (err error) {
		s, err := m.enter(ctx, plain)
		if err != nil {
			return err
		}
		defer s.leave(&err)
		panic("nonsense")
	}()
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
	w.create(m, 1)
}

func TestJoinOverTheDead(t *testing.T) {
	w := newWorld(t, Limits{Processes: 2, Segments: 8})
	a, b := w.join(), w.join()
	kept, lost := w.create(a, 1), w.create(a, 1)
	_, _ = b.Ref(ctx, kept.Handle)
	creating, _ := a.Create(ctx, 1, time.Now())
	w.die(a)
	c := w.join() // the table is full but for the dead
	if c.Row() != a.Row() || c.Incarnation() != a.Incarnation()+1 {
		t.Errorf("joined at row %d incarnation %d", c.Row(), c.Incarnation())
	}
	var got []uint64
	for _, e := range w.owed(c) {
		got = append(got, e.Handle)
		_ = c.Destroyed(ctx, e)
	}
	if len(got) != 2 || !(got[0] == lost.Handle && got[1] == creating.Handle) {
		t.Errorf("the newcomer owes %x, want %x", got, []uint64{lost.Handle, creating.Handle})
	}
	if s := w.find(kept.Handle); len(s.Holders) != 1 || s.Holders[0] != b.Row() {
		t.Errorf("holders %v", s.Holders)
	}
}

// A newcomer who takes the lock over from the dead while the instance is closing becomes agent of what those left.
func TestJoinRepairsWhileClosing(t *testing.T) {
	w := newWorld(t, small)
	sup, _ := w.JoinSupervisor(ctx, w.witness, w.who())
	m := w.join()
	_, _ = m.Create(ctx, 1, time.Now())
	if err := sup.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.enter(ctx, plain); err != nil {
		t.Fatal(err)
	}
	w.die(m)
	if _, err := w.Join(ctx, w.witness, w.who()); !errors.Is(err, ErrStale) {
		t.Fatalf("Join while closing = %v, want ErrStale", err)
	}
	list, _ := w.Processes()
	for _, p := range list {
		if !w.witness.Held(p.Row) {
			if done, err := sup.Reclaim(ctx, p.Row, p.Incarnation); !done || err != nil {
				t.Errorf("Reclaim of row %d = %v, %v", p.Row, done, err)
			}
		}
	}
	for _, e := range w.owed(sup) {
		if err := sup.Destroyed(ctx, e); err != nil {
			t.Error(err)
		}
	}
	if n, _ := w.Unfinished(); n != 0 {
		t.Errorf("%d rows that the closer waits for in vain", n)
	}
}

func TestSupervisorRow(t *testing.T) {
	w := newWorld(t, small)
	s, err := w.JoinSupervisor(ctx, w.witness, w.who())
	if err != nil || s.Row() != SupervisorRow {
		t.Fatal(err)
	}
	if _, err := w.JoinSupervisor(ctx, w.witness, w.who()); !errors.Is(err, ErrInUse) {
		t.Errorf("second supervisor: %v", err)
	}
	w.die(s)
	again, err := w.JoinSupervisor(ctx, w.witness, w.who())
	if err != nil || again.Incarnation() != s.Incarnation()+1 {
		t.Errorf("after its death: %v", err)
	}
}

func TestLeave(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	w.create(a, 1)
	w.die(a)
	w.reclaim(b, a)
	if done, err := b.Leave(ctx); done || err != nil {
		t.Fatalf("Leave with an object in hand = %v, %v", done, err)
	}
	for _, e := range w.owed(b) {
		_ = b.Destroyed(ctx, e)
	}
	if done, err := b.Leave(ctx); !done || err != nil {
		t.Fatalf("Leave = %v, %v", done, err)
	}
	if _, err := b.Create(ctx, 1, time.Now()); !errors.Is(err, ErrClosed) {
		t.Errorf("Create after Leave = %v, want ErrClosed", err)
	}
	w.wantEmpty()
}

func TestClose(t *testing.T) {
	w := newWorld(t, small)
	sup, _ := w.JoinSupervisor(ctx, w.witness, w.who())
	m := w.join()
	live := w.create(m, 1)
	creating, _ := m.Create(ctx, 1, time.Now())
	_ = m.Pin(ctx, live.Handle, false)
	if err := sup.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if closing, err := w.WaitClosing(time.Minute); !closing || err != nil {
		t.Error("not closing")
	}
	for name, err := range map[string]error{
		"Create": func() error { _, err := m.Create(ctx, 1, time.Now()); return err }(),
		"Ref":    func() error { _, err := m.Ref(ctx, live.Handle); return err }(),
		"Pin":    m.Pin(ctx, live.Handle, false),
		"Join":   func() error { _, err := w.Join(ctx, w.witness, w.who()); return err }(),
	} {
		if !errors.Is(err, ErrStale) {
			t.Errorf("%s while closing = %v, want ErrStale", name, err)
		}
	}
	owed := w.owed(sup)
	if len(owed) != 1 || owed[0].Handle != live.Handle {
		t.Fatalf("the closer owes %v", owed)
	}
	_ = sup.Destroyed(ctx, owed[0])
	if n, _ := w.Unfinished(); n != 1 {
		t.Errorf("%d unfinished, want the one whose agent lives", n)
	}
	if err := m.Created(ctx, creating, 5); !errors.Is(err, ErrStale) {
		t.Errorf("Created while closing = %v, want ErrStale", err)
	}
	if err := m.Destroyed(ctx, creating); err != nil {
		t.Error(err)
	}
	if last, err := m.Unref(ctx, live); last || err != nil {
		t.Errorf("Unref while closing = %v, %v", last, err)
	}
	if done, err := m.Leave(ctx); !done || err != nil {
		t.Errorf("Leave while closing = %v, %v", done, err)
	}
	w.wantEmpty()
}

func TestFailedDestroyIsTriedAgain(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	e := w.create(a, 1)
	_, _ = a.Unref(ctx, e)
	if err := a.DestroyFailed(ctx, e, 13); err != nil {
		t.Fatal(err)
	}
	if s := w.find(e.Handle); s.State != Destroying || s.Errno != 13 {
		t.Errorf("%+v", s)
	}
	if done, err := a.Leave(ctx); !done || err != nil {
		t.Errorf("its agent can't leave: %v", err)
	}
	if err := b.Retry(ctx); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.owed(b) {
		_ = b.Destroyed(ctx, e)
	}
	w.wantEmpty()
}

func TestStoppedHolderIsNamed(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	if _, err := a.enter(ctx, plain); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	_, err := b.Create(short, 1, time.Now())
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.Pid != 1 || busy.Application != "app 1" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if p, held, err := w.LockHolder(); !held || p.Pid != 1 || err != nil {
		t.Errorf("LockHolder = %+v, %v, %v", p, held, err)
	}
}

// TestCorruptRows: what a neighbour garbled costs at most that segment.
func TestCorruptRows(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *segmentRow)
		want error
	}{
		{"state", func(r *segmentRow) { r.word.Store(9) }, ErrCorrupt},
		{"size", func(r *segmentRow) { r.size.Store(1 << 40) }, ErrCorrupt},
		{"word", func(r *segmentRow) { r.osWord.Store(4) }, ErrCorrupt},
		{"handle", func(r *segmentRow) { r.handle.Add(1 << 20) }, ErrNotFound},
		{"agent", func(r *segmentRow) { r.word.Store(segmentWord(Destroying, 60000, 1)) }, ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, small)
			a, b := w.join(), w.join()
			e, good := w.create(a, 100), w.create(a, 100)
			c.do(&w.segments[e.row()])
			if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, c.want) {
				t.Errorf("Ref = %v, want %v", err, c.want)
			}
			if _, err := b.Ref(ctx, good.Handle); err != nil {
				t.Errorf("Ref of another segment: %v", err)
			}
			w.die(a)
			w.reclaim(b, a)
			for _, o := range w.owed(b) {
				if o.Handle != e.Handle && o.Handle != good.Handle {
					t.Errorf("an object that never was is to be destroyed: %#x", o.Handle)
				}
			}
		})
	}
}

func TestCorruptHeader(t *testing.T) {
	w := newWorld(t, small)
	for _, c := range []struct {
		name string
		at   int
		says string
	}{
		{"magic", 0, "magic"},
		{"checksum", 8, "checksum"},
		{"version", 16, "layout version"},
		{"byte order", 20, "byte order"},
		{"instance", 24, "checksum"},
		{"processes", 64, "checksum"},
		{"segments", 68, "checksum"},
		{"dir", 200, "checksum"},
	} {
		b := append([]byte(nil), w.bytes...)
		b[c.at] ^= 0x40
		if _, err := Open(shm.NewRegion(b)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	other := append([]byte(nil), w.bytes...)
	slices.Reverse(other[:8]) // as a processor of the other byte order would have written the magic
	if _, err := Open(shm.NewRegion(other)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "other byte order") {
		t.Errorf("the other byte order: %v", err)
	}
	for _, n := range []int{0, 7, 100, headerSize, len(w.bytes) - 1} {
		if _, err := Open(shm.NewRegion(append([]byte(nil), w.bytes[:n]...))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Open(shm.NewRegion(make([]byte, len(w.bytes)))); !errors.Is(err, ErrCorrupt) {
		t.Error("zeros are a control segment")
	}
}

// TestModel runs random steps of several members, deaths and reclaims among them, beside a model, and
// compares the two after each.
func TestModel(t *testing.T) {
	type segment struct {
		entry  Entry
		refs   map[*Member]bool
		pinned bool
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	w := newWorld(t, Limits{Processes: 5, Segments: 12, Reserved: 130 * PageSize})
	var members []*Member
	model := map[uint64]*segment{}
	pages := newPageModel(w)
	// unheld takes a carved segment that nothing keeps from the model: nobody has to be told of it.
	unheld := func(s *segment) {
		if s.entry.Page != 0 && len(s.refs) == 0 && !s.pinned {
			pages.free(s.entry)
			delete(model, s.entry.Handle)
		}
	}
	pick := func() (*Member, *segment) {
		m := members[rng.IntN(len(members))]
		k := rng.IntN(len(model) + 1)
		for _, s := range model {
			if k--; k < 0 {
				return m, s
			}
		}
		return m, nil
	}
	gone := func(m *Member, entries ...Entry) {
		for _, e := range entries {
			if s := model[e.Handle]; s != nil && (len(s.refs) > 0 || s.pinned) {
				t.Fatalf("a segment in use is to be destroyed")
			}
			delete(model, e.Handle)
			if err := m.Destroyed(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20000 {
		if len(members) == 0 || rng.IntN(20) == 0 {
			if m, err := w.Join(ctx, w.witness, w.who()); err == nil {
				members = append(members, m)
				gone(m, w.owed(m)...)
			} else if len(members) < 5 || !errors.Is(err, ErrTooManyProcesses) {
				t.Fatal(err)
			}
			continue
		}
		m, s := pick()
		switch step := rng.IntN(12); {
		case step < 3:
			if rng.IntN(2) == 0 {
				size := 1 + rng.IntN(PageSize<<rng.IntN(6))
				e, ok, err := m.Carve(ctx, size, 0)
				if ok {
					err = m.Publish(e)
					model[e.Handle] = &segment{entry: e, refs: map[*Member]bool{m: true}}
					pages.use(e)
				} else if err == nil {
					pages.wantNoRoom(size)
				}
				if err != nil && !(errors.Is(err, ErrTooManySegments) && len(model) == 12) {
					t.Fatal(err)
				}
				break
			}
			e, err := m.Create(ctx, 1+rng.IntN(100), time.Now())
			if errors.Is(err, ErrTooManySegments) && len(model) == 12 {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(4) == 0 {
				err = m.Abandon(ctx, e)
			} else {
				err = m.Created(ctx, e, rng.Uint64())
				model[e.Handle] = &segment{entry: e, refs: map[*Member]bool{m: true}}
			}
			if err != nil {
				t.Fatal(err)
			}
		case s == nil:
		case step < 5:
			if _, err := m.Ref(ctx, s.entry.Handle); err != nil {
				t.Fatal(err)
			}
			s.refs[m] = true
		case step < 8 && s.refs[m]:
			delete(s.refs, m)
			last, err := m.Unref(ctx, s.entry)
			if err != nil || last != (len(s.refs) == 0 && !s.pinned && s.entry.Page == 0) {
				t.Fatalf("Unref = %v, %v with %d references, pinned %v", last, err, len(s.refs), s.pinned)
			}
			if last {
				gone(m, s.entry)
			}
			unheld(s)
		case step == 8:
			s.pinned = true
			if err := m.Pin(ctx, s.entry.Handle, false); err != nil {
				t.Fatal(err)
			}
		case step == 9 && s.pinned:
			s.pinned = false
			_, last, err := m.Unpin(ctx, s.entry.Handle)
			if err != nil || last != (len(s.refs) == 0 && s.entry.Page == 0) {
				t.Fatal(last, err)
			}
			if last {
				gone(m, s.entry)
			}
			unheld(s)
		case step == 10 && len(members) > 1: // m dies, another one reclaims
			k := 0
			for members[k] != m {
				k++
			}
			members = append(members[:k], members[k+1:]...)
			if rng.IntN(2) == 0 {
				_, _ = m.enter(ctx, plain) // with the lock in hand
			}
			w.die(m)
			for _, s := range model {
				delete(s.refs, m)
				unheld(s)
			}
			by := members[rng.IntN(len(members))]
			if _, err := by.Reclaim(ctx, m.Row(), m.Incarnation()); err != nil {
				t.Fatal(err)
			}
			gone(by, w.owed(by)...)
		case step == 11 && rng.IntN(10) == 0:
			pages.garble(rng)
			if err := m.Retry(ctx); err != nil {
				t.Fatal(err)
			}
		}
		pages.check()
		list, _ := w.Segments()
		if len(list) != len(model) {
			t.Fatalf("%d rows, the model has %d", len(list), len(model))
		}
		var bytes uint64
		for _, info := range list {
			s := model[info.Handle]
			if s == nil || info.State != Live || len(info.Holders) != len(s.refs) || info.Pinned != s.pinned || !info.Sound {
				t.Fatalf("row %+v, model %+v", info, s)
			}
			bytes += uint64(info.Size)
		}
		if rows, used, _ := w.Used(); rows != len(model) || used != bytes {
			t.Fatalf("counted %d rows, %d bytes; want %d, %d", rows, used, len(model), bytes)
		}
		ps, _ := w.Processes()
		for _, p := range ps {
			n, bytes := 0, uint64(0)
			for _, s := range model {
				for m := range s.refs {
					if m.Row() == p.Row {
						n, bytes = n+1, bytes+uint64(s.entry.Size)
					}
				}
			}
			if p.Segments != n || p.Bytes != bytes {
				t.Fatalf("row %d counts %d segments of %d bytes, want %d of %d", p.Row, p.Segments, p.Bytes, n, bytes)
			}
		}
	}
}

func TestConcurrentMembers(t *testing.T) {
	w := newWorld(t, Limits{Processes: 10, Segments: 64})
	var wg sync.WaitGroup
	for range 4 {
		m := w.join()
		for range 2 {
			wg.Go(func() {
				for range 500 {
					e, err := m.Create(ctx, 8, time.Now())
					if err == nil {
						err = m.Created(ctx, e, 0)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if last, err := m.Unref(ctx, e); !last || err != nil {
						t.Error(last, err)
						return
					}
					if err := m.Destroyed(ctx, e); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	w.wantEmpty()
}
