package control

import (
	"errors"
	"testing"
)

func (w *world) counters() Counters {
	w.Helper()
	c, err := w.Counters()
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// TestCountersOfCalls: each call counts once, in the row of the session that made it, and the next user of the row
// goes on.
func TestCountersOfCalls(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	e := w.create(a, 100)
	w.create(a, 50)
	if _, err := b.Ref(ctx, e.Handle); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ref(ctx, e.Handle^1<<40); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Ref of a handle that is not there = %v", err)
	}
	if _, err := b.Unref(ctx, e); err != nil {
		t.Fatal(err)
	}
	c := w.counters()
	if c.Creates != 2 || c.CreatedBytes != 150 || c.Attaches != 1 || c.Detaches != 1 || c.Returned != 0 || c.NotFound != 1 ||
		c.Joins != 2 || c.Reclaims != 0 {
		t.Errorf("counters %+v", c)
	}
	if d := w.Process(b.Row()).Done; d.Attaches != 1 || d.Creates != 0 {
		t.Errorf("the second session has done %+v", d)
	}
	w.die(a)
	w.reclaim(b, a)
	again := w.join()
	if again.Row() != a.Row() {
		t.Fatalf("row %d, want %d again", again.Row(), a.Row())
	}
	if d := w.Process(again.Row()).Done; d != (Done{}) {
		t.Errorf("a newcomer has done %+v", d)
	}
	if c := w.counters(); c.Creates != 2 || c.Returned != 2 || c.Reclaims != 1 || c.LastReclaim.IsZero() {
		t.Errorf("counters after a death %+v", c)
	}
}

// TestCountersOfRefusals: a refusal is counted by what has refused.
func TestCountersOfRefusals(t *testing.T) {
	l := small
	l.SegmentsPerProcess, l.Memory = 2, 1000
	w := newWorld(t, l)
	m := w.join()
	w.create(m, 100)
	if _, err := m.Create(ctx, 1000, w.now()); !errors.Is(err, ErrQuota) {
		t.Fatalf("Create beyond max_memory = %v", err)
	}
	w.create(m, 100)
	if _, err := m.Create(ctx, 100, w.now()); !errors.Is(err, ErrQuota) {
		t.Fatalf("Create beyond max_segments_per_process = %v", err)
	}
	m.RefusedBySystem()
	for len(w.processes) > 2 {
		if _, err := w.Join(ctx, w.witness, w.who()); err != nil {
			if !errors.Is(err, ErrTooManyProcesses) {
				t.Fatal(err)
			}
			break
		}
	}
	c := w.counters()
	if c.Refused != (Refused{Memory: 1, Session: 1, System: 1}) || c.JoinsRefused != 1 {
		t.Errorf("refused %+v, joins %d", c.Refused, c.JoinsRefused)
	}
}

// TestReclaimCutShort: a reclaim that dies after any of its steps is done again by another process, and the tally
// counts each reference of the dead process once as returned.
func TestReclaimCutShort(t *testing.T) {
	cuts := map[string]func(by, dead *Member){
		"nothing":     func(by, dead *Member) {},
		"some bits":   func(by, dead *Member) { by.t.clearBitLocked(0, dead.row) },
		"all bits":    func(by, dead *Member) { by.reclaimRowLocked(dead.row) },
		"and the log": func(by, dead *Member) { by.reclaimRowLocked(dead.row); by.t.logDeathLocked(dead.peer()) },
		"and through": func(by, dead *Member) {
			by.reclaimRowLocked(dead.row)
			by.recordDeathLocked(dead.row, dead.incarnation, 0, w0)
		},
		"and only counted": func(by, dead *Member) { by.reclaimRowLocked(dead.row); by.t.tallies[dead.row].balanceLocked() },
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, small)
			by, next, dead := w.join(), w.join(), w.join()
			for range 3 {
				w.create(dead, 10)
			}
			w.die(dead)
			s, err := by.enter(ctx, plain)
			if err != nil {
				t.Fatal(err)
			}
			cut(by, dead)
			s.leaveSection(&err)
			w.reclaim(next, dead)
			if c := w.counters(); c.Creates != 3 || c.Returned != 3 || c.Reclaims != 1 {
				t.Errorf("counters %+v", c)
			}
			died := 0
			list, err := w.Events()
			for _, e := range list {
				if e.Kind == Died {
					died++
				}
			}
			if err != nil || died != 1 {
				t.Errorf("%d deaths in the events, %v", died, err)
			}
		})
	}
}
