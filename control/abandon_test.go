package control

import (
	"slices"
	"testing"

	"github.com/godsm/godsm/internal/testing/tape"
)

// The rehearsal of death: members do what a program of bytes says, are abandoned in the middle of anything
// (nothing is given back, their witness is free), and others reclaim them. Beside them runs a model of what each
// member holds, and an operating system of which no more is known than which objects there are. After each step the
// books say what the model says.

type rehearsal struct {
	*world
	tape    *tape.Tape
	living  []*Member
	dead    []*Member // not yet reclaimed
	joining []*Member // dead ones on whose rows a process died while joining
	rows    map[uint64]*modelRow
	objects map[uint64]bool // in the operating system
}

type modelRow struct {
	entry   Entry
	state   SegmentState
	agent   *Member // nil: no process
	owed    bool    // it fell to its agent, which has not asked yet
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

// TestAbandon runs programs of chance, for the times in which no process fuzzes.
func TestAbandon(t *testing.T) {
	for seed := range uint64(20) {
		b := make([]byte, 3000)
		for i, x := 0, seed; i < len(b); i++ {
			x = mixRowCheck(x + seed + uint64(i))
			b[i] = byte(x)
		}
		rehearse(t, b)
	}
}

func rehearse(t *testing.T, program []byte) {
	r := &rehearsal{
		world: newWorld(t, rehearsalLimits), tape: tape.New(program),
		rows: map[uint64]*modelRow{}, objects: map[uint64]bool{},
	}
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

// check compares the books with the model.
func (r *rehearsal) check() {
	r.Helper()
	list, err := r.Segments()
	r.must(err)
	if len(list) != len(r.rows) {
		r.Fatalf("%d rows, the model has %d", len(list), len(r.rows))
	}
	for row := range r.processes {
		if w := r.processes[row].word.Load(); !isUsedWord(w) && r.tallies[row].heldNow() != 0 {
			r.Fatalf("row %d has no user, and its counters say that it holds %d references", row, r.tallies[row].heldNow())
		}
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
		// No process asks what the dead hold.
		lives := slices.ContainsFunc(r.living, func(m *Member) bool { return m.row == p.Row })
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

// end: a process reclaims all dead processes, and each member leaves. Then there is what is pinned, and nothing else.
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
