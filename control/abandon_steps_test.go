package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

func (r *rehearsal) create(m *Member) {
	e, err := m.Create(ctx, 1+r.tape.Below(100), time.Now())
	if errors.Is(err, ErrTooManySegments) && len(r.rows) == rehearsalLimits.Segments {
		return
	}
	r.must(err)
	r.rows[e.Handle] = &modelRow{entry: e, state: Creating, agent: m, holders: map[*Member]bool{m: true}}
}

// segment is a step of m with one segment, if it can be taken now.
func (r *rehearsal) segment(m *Member, row *modelRow, what int) {
	e, mine := row.entry, row.agent == m
	switch {
	case what == 2 && row.state == Creating && mine: // the system is asked
		r.objects[e.Handle] = true
	case what == 3 && row.state == Creating && mine && r.objects[e.Handle]:
		row.entry.Word = 1 + e.Handle
		r.must(m.Created(ctx, row.entry, row.entry.Word))
		row.state, row.agent = Live, nil
	case what == 4 && row.state == Creating && mine && !r.objects[e.Handle]: // it could not be made
		r.must(m.Abandon(ctx, e))
		delete(r.rows, e.Handle)
	case what == 4 || what == 3:
		_, err := m.Ref(ctx, e.Handle)
		if row.state != Live {
			if !errors.Is(err, ErrNotFound) {
				r.Fatalf("Ref of a segment that is %v = %v", row.state, err)
			}
			return
		}
		r.must(err)
		row.holders[m] = true
	case what == 5 && row.state == Live && row.holders[m]:
		last, err := m.Unref(ctx, e)
		r.must(err)
		delete(row.holders, m)
		r.wantLast(row, m, last)
	case what == 6 && row.state == Live:
		r.must(m.Pin(ctx, e.Handle, false))
		row.pinned = true
	case what == 7 && row.pinned && row.state == Live:
		_, last, err := m.Unpin(ctx, e.Handle)
		r.must(err)
		row.pinned = false
		r.wantLast(row, m, last)
	case what == 8 && row.state == Destroying && mine && !row.owed: // the system is asked
		delete(r.objects, e.Handle)
	case what == 9 && row.state == Destroying && mine && !row.owed && !r.objects[e.Handle]:
		r.must(m.Destroyed(ctx, e))
		delete(r.rows, e.Handle)
	case what == 10 && row.state == Destroying && mine && !row.owed:
		r.must(m.DestroyFailed(ctx, e, 13))
		row.agent = nil
	}
}

func (r *rehearsal) wantLast(row *modelRow, m *Member, last bool) {
	r.Helper()
	if want := len(row.holders) == 0 && !row.pinned; last != want {
		r.Fatalf("last is %v with %d holders, pinned %v", last, len(row.holders), row.pinned)
	}
	if last {
		row.state, row.agent = Destroying, m
	}
}

// fall is what a reclaim of gone by heir does to the model.
func (r *rehearsal) fall(gone, heir *Member) {
	for _, row := range r.rows {
		maps.DeleteFunc(row.holders, func(m *Member, _ bool) bool { return m.row == gone.row })
		if row.agent != nil && row.agent.row == gone.row || row.state == Live && len(row.holders) == 0 && !row.pinned {
			row.state, row.agent, row.owed = Destroying, heir, true
		}
	}
	r.dead = slices.DeleteFunc(r.dead, func(m *Member) bool { return m == gone })
}

// lifeOf is a step in m's own life.
func (r *rehearsal) lifeOf(m *Member, what int) {
	switch what {
	case 11: // abandoned
		r.abandon(m)
	case 12: // abandoned with the lock in hand: the process that takes it next repairs
		if r.tape.Below(4) > 0 {
			return
		}
		_, err := m.enter(ctx, plain)
		r.must(err)
		r.abandon(m)
		if len(r.living) == 0 {
			r.newcomer()
		} else {
			r.retry(r.living[r.tape.Below(len(r.living))], m)
		}
	case 13, 14:
		if len(r.dead) == 0 {
			return
		}
		d := r.dead[r.tape.Below(len(r.dead))]
		r.reclaim(m, d)
		r.fall(d, m)
		if done, err := m.Reclaim(ctx, d.Row(), d.Incarnation()); done || err != nil {
			r.Fatalf("a second Reclaim = %v, %v", done, err)
		}
	case 15:
		r.retry(m, nil)
		r.settle(m)
	case 16:
		r.leave(m)
	case 17:
		r.dieJoining(m)
	}
}

func (r *rehearsal) abandon(m *Member) {
	r.die(m)
	r.living = slices.DeleteFunc(r.living, func(x *Member) bool { return x == m })
	r.dead = append(r.dead, m)
}

func (r *rehearsal) retry(m, repaired *Member) {
	r.must(m.Retry(ctx))
	if repaired != nil {
		r.fall(repaired, m)
	}
	for _, row := range r.rows {
		if row.state == Destroying && row.agent == nil {
			row.agent, row.owed = m, true
		}
	}
	r.repaired(m)
}

// repaired is what settling the table does: what was in the hands of one whose row has another user falls to m.
func (r *rehearsal) repaired(m *Member) {
	for _, row := range r.rows {
		if slices.Contains(r.joining, row.agent) {
			row.state, row.agent, row.owed = Destroying, m, true
		}
	}
}

// dieJoining lets a process die between taking a row and its first section, which m is in the way of.
func (r *rehearsal) dieJoining(m *Member) {
	s, err := m.enter(ctx, plain)
	r.must(err)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, jerr := r.Join(short, r.witness, r.who())
	s.leaveSection(&err)
	r.must(err)
	if errors.Is(jerr, ErrTooManyProcesses) {
		return
	}
	if !errors.Is(jerr, context.DeadlineExceeded) {
		r.Fatalf("Join beside a holder of the lock = %v", jerr)
	}
	list, _ := r.Processes()
	for _, p := range list {
		same := func(x *Member) bool { return x.row == p.Row && x.incarnation == p.Incarnation }
		if slices.ContainsFunc(r.living, same) || slices.ContainsFunc(r.dead, same) {
			continue
		}
		ghost := &Member{row: p.Row, incarnation: p.Incarnation}
		for _, d := range r.dead {
			if d.row != p.Row {
				continue
			}
			r.joining = append(r.joining, d)
			for _, row := range r.rows {
				if row.holders[d] {
					delete(row.holders, d)
					row.holders[ghost] = true
				}
			}
		}
		r.dead = append(slices.DeleteFunc(r.dead, func(x *Member) bool { return x.row == p.Row }), ghost)
	}
}

// settle destroys what fell to m, which is what the model says.
func (r *rehearsal) settle(m *Member) {
	want := 0
	for _, row := range r.rows {
		if row.agent == m && row.owed {
			want++
		}
	}
	owed := r.owed(m)
	for _, e := range owed {
		row := r.rows[e.Handle]
		if row == nil || row.agent != m || !row.owed || e.Size != row.entry.Size || e.Word != row.entry.Word {
			r.Fatalf("owed %+v, the model has %+v", e, row)
		}
		delete(r.objects, e.Handle)
		r.must(m.Destroyed(ctx, e))
		delete(r.rows, e.Handle)
	}
	if len(owed) != want {
		r.Fatalf("%d owed, the model has %d", len(owed), want)
	}
}

func (r *rehearsal) leave(m *Member) {
	r.must(m.ReleaseAll(ctx))
	r.fall(m, m)
	r.settle(m)
	if done, err := m.Leave(ctx); !done || err != nil {
		r.Fatalf("Leave = %v, %v", done, err)
	}
	r.die(m)
	r.living = slices.DeleteFunc(r.living, func(x *Member) bool { return x == m })
}

// newcomer lets a process join, on a free row or over the dead.
func (r *rehearsal) newcomer() {
	holder, held, _ := r.LockHolder() // dead, if there is one
	m, err := r.Join(ctx, r.witness, r.who())
	if errors.Is(err, ErrTooManyProcesses) && len(r.living) == rehearsalLimits.Processes {
		return
	}
	r.must(err)
	for _, d := range slices.Clone(r.dead) {
		if d.Row() == m.Row() || held && d.Row() == holder.Row {
			r.fall(d, m)
		}
	}
	if held {
		r.repaired(m)
	}
	r.living = append(r.living, m)
}
