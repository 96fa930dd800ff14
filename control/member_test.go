package control

import (
	"context"
	"errors"
	"testing"
	"time"
)

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

// A newcomer that takes the lock over from a dead process while the instance is closing becomes agent of what that one
// left.
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
