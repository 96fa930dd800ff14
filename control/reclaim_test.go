package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

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
		{"bit cleared, row still live", func(w *world, m *Member, e Entry) { w.clearBitLocked(e.row(), m.row) }, 0},
		{"pin taken away", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].pin.Store(unpinned)
			w.clearBitLocked(e.row(), m.row)
		}, 0},
		{"intent half written", func(w *world, m *Member, e Entry) {
			w.setBitLocked(5, m.row)
			w.header.usedRows.Add(1)
		}, 0},
		{"backend's word written, checksum not", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].word.Store(m.stampWord(Creating))
			w.segments[e.row()].osWord.Store(7)
		}, 0},
		{"made destroying", func(w *world, m *Member, e Entry) {
			w.segments[e.row()].word.Store(m.stampWord(Destroying))
		}, 0},
		{"pinned", func(w *world, m *Member, e Entry) { w.segments[e.row()].pin.Store(pinned) }, 1},
		{"row given up", func(w *world, m *Member, e Entry) {
			w.clearBitLocked(e.row(), m.row)
			w.segments[e.row()].word.Store(segmentWord(Free, 0, 0))
			w.processes[m.row].word.Store(freedWord(m.incarnation))
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
			if isUsedWord(w.processes[m.row].word.Load()) {
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
		defer s.leaveSection(&err)
		panic("nonsense")
	}()
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
	w.create(m, 1)
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
	if news, err := m.Listen(ctx, time.Minute); news&shmsync.NewsEnd == 0 || err != nil || !w.Closing() {
		t.Errorf("not closing: told of %d, %v", news, err)
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
