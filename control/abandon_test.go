package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/tape"
)

// The rehearsal of death: members do what a program of bytes says, are abandoned in the middle of anything (nothing is given back,
// their witness is free), and others reclaim them. Beside them runs a model of who holds what, and an
// operating system of which no more is known than which objects there are. After each step the books say what the model says.

type rehearsal struct {
	*world
	tape    *tape.Tape
	living  []*Member
	dead    []*Member // not yet reclaimed
	joining []*Member // dead ones on whose rows somebody died while joining
	rows    map[uint64]*modelRow
	objects map[uint64]bool // in the operating system
}

type modelRow struct {
	entry   Entry
	state   SegmentState
	agent   *Member // nil: nobody
	owed    bool    // it fell to its agent, who has not asked yet
	holders map[*Member]bool
	pinned  bool
}

var rehearsalLimits = Limits{Processes: 5, Segments: 7}

func FuzzAbandon(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0, 0, 3, 0, 0, 4, 1, 0, 11, 0, 12, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 1, 1, 1, 2, 1, 0, 12, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 1, 0, 2, 0, 0, 3, 0, 0, 7, 0, 0, 5, 0, 0, 8, 0, 0, 9, 0, 0, 10, 1, 13, 1})
	f.Fuzz(rehearse)
}

// TestAbandon runs programs of chance, for the times in which nobody fuzzes.
func TestAbandon(t *testing.T) {
	for seed := range uint64(20) {
		b := make([]byte, 3000)
		for i, x := 0, seed; i < len(b); i++ {
			x = mix(x + seed + uint64(i))
			b[i] = byte(x)
		}
		rehearse(t, b)
	}
}

func rehearse(t *testing.T, program []byte) {
	r := &rehearsal{world: newWorld(t, rehearsalLimits), tape: tape.New(program), rows: map[uint64]*modelRow{}, objects: map[uint64]bool{}}
	for n := 0; r.tape.More() && n < 1500; n++ {
		r.step()
		r.check()
	}
	r.end()
}

func (r *rehearsal) step() {
	what := r.tape.Below(18)
	if what == 0 || len(r.living) == 0 {
		r.newcomer()
		return
	}
	m := r.living[r.tape.Below(len(r.living))]
	row := r.pick()
	switch {
	case what == 1:
		r.create(m)
	case what >= 11:
		r.lifeOf(m, what)
	case row == nil:
	default:
		r.segment(m, row, what)
	}
}

// pick chooses a row of the model; nil if there is none.
func (r *rehearsal) pick() *modelRow {
	handles := make([]uint64, 0, len(r.rows))
	for h := range r.rows {
		handles = append(handles, h)
	}
	if len(handles) == 0 {
		return nil
	}
	slices.SortFunc(handles, func(a, b uint64) int { return int(a&0xffff) - int(b&0xffff) })
	return r.rows[handles[r.tape.Below(len(handles))]]
}

func (r *rehearsal) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

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
	case 12: // abandoned with the lock in hand: whoever takes it next repairs
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

// dieJoining lets somebody die between taking a row and its first section, which m is in the way of.
func (r *rehearsal) dieJoining(m *Member) {
	s, err := m.enter(ctx, plain)
	r.must(err)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, jerr := r.Join(short, r.witness, r.who())
	s.leave(&err)
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

// newcomer lets somebody join, on a free row or over the dead.
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

// check compares the books with the model.
func (r *rehearsal) check() {
	r.Helper()
	list, err := r.Segments()
	r.must(err)
	if len(list) != len(r.rows) {
		r.Fatalf("%d rows, the model has %d", len(list), len(r.rows))
	}
	segments, bytes := map[int]int{}, map[int]uint64{}
	var all uint64
	for _, s := range list {
		row := r.rows[s.Handle]
		if row == nil {
			r.Fatalf("%+v is not in the model", s)
		}
		word := r.segments[s.row()].word.Load()
		want := segmentWord(Live, 0, 0)
		if row.agent != nil {
			want = segmentWord(row.state, row.agent.row, row.agent.incarnation)
		} else if row.state == Destroying {
			want = segmentWord(Destroying, nobody, 0)
		}
		if word != want || s.Pinned != row.pinned || !s.Sound || s.Entry != row.entry {
			r.Fatalf("%+v word %#x, the model has %+v word %#x", s, word, row, want)
		}
		holders := map[int]bool{}
		for m := range row.holders {
			holders[m.row] = true
			segments[m.row]++
			bytes[m.row] += uint64(s.Size)
		}
		for _, h := range s.Holders {
			if !holders[h] {
				r.Fatalf("row %d holds %#x, the model has %v", h, s.Handle, holders)
			}
		}
		if len(s.Holders) != len(holders) {
			r.Fatalf("%v hold %#x, the model has %v", s.Holders, s.Handle, holders)
		}
		all += uint64(s.Size)
	}
	if rows, used, _ := r.Used(); rows != len(list) || used != all {
		r.Fatalf("counted %d rows and %d bytes, the model has %d and %d", rows, used, len(list), all)
	}
	processes, err := r.Processes()
	r.must(err)
	if len(processes) != len(r.living)+len(r.dead) {
		r.Fatalf("%d processes, the model has %d living and %d dead", len(processes), len(r.living), len(r.dead))
	}
	for _, p := range processes {
		lives := slices.ContainsFunc(r.living, func(m *Member) bool { return m.row == p.Row }) // nobody asks what the dead hold
		if lives && (p.Segments != segments[p.Row] || p.Bytes != bytes[p.Row]) {
			r.Fatalf("%+v, the model has %d segments of %d bytes", p, segments[p.Row], bytes[p.Row])
		}
	}
	for h := range r.objects {
		if r.rows[h] == nil {
			r.Fatalf("an object that no row names: %#x", h)
		}
	}
}

// end: somebody reclaims all the dead and everybody leaves. Then there is what is pinned, and nothing else.
func (r *rehearsal) end() {
	for len(r.living) == 0 {
		r.newcomer()
	}
	last := r.living[0]
	for len(r.dead) > 0 {
		d := r.dead[0]
		r.reclaim(last, d)
		r.fall(d, last)
	}
	r.retry(last, nil)
	for len(r.living) > 0 {
		r.leave(r.living[len(r.living)-1])
		r.check()
	}
	for _, row := range r.rows {
		if row.state != Live || !row.pinned || !r.objects[row.entry.Handle] {
			r.Fatalf("left behind: %+v", row)
		}
	}
	if len(r.objects) != len(r.rows) {
		r.Fatalf("%d objects, %d rows", len(r.objects), len(r.rows))
	}
}
