package control

import (
	"bytes"
	"context"
	"math/bits"
	"syscall"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// Reclaim finishes, for the dead user of a process row, what it would have done at exit, in one section:
// its references are given back, what it was at work on and what no process keeps any more falls to this
// member (see Owed), and its row is free. The row is left alone, and done is false, if its user has
// changed or is not dead after all.
func (m *Member) Reclaim(ctx context.Context, row int, incarnation uint32) (done bool, err error) {
	s, err := m.enter(ctx, seizing)
	if err != nil {
		return false, err
	}
	defer s.leave(&err)
	if row < 0 || row >= len(m.t.processes) || row == m.row {
		return false, nil
	}
	if dead, abandoned := s.guard.Abandoned(); abandoned && dead == holder(row, incarnation) {
		return true, nil // it died with the lock, and repair has reclaimed it
	}
	p := &m.t.processes[row]
	if p.word.Load() != usedBy(incarnation) || m.witness.Held(row) {
		return false, nil
	}
	failpoint.Hit("control/reclaim/locked")
	began := time.Now()
	bytes := m.reclaimRow(row)
	failpoint.Hit("control/reclaim/given-back")
	m.bury(row, incarnation, bytes, began)
	s.died = true
	// A newcomer may have joined over the dead one in this moment; then its word stands.
	p.word.CompareAndSwap(usedBy(incarnation), freedBy(incarnation))
	failpoint.Hit("control/reclaim/freed")
	return true, nil
}

// reclaimRow clears the bits of a process row that has no living user, or only one that has not begun its first
// section, and takes its place as an agent, whatever the incarnation. It returns how many bytes it gave references back to.
func (m *Member) reclaimRow(row int) (given uint64) {
	t := m.t
	for i := range t.segments {
		r := &t.segments[i]
		w := r.word.Load()
		if stateOf(w) == Free {
			continue
		}
		if t.clearBit(i, row) {
			given += r.size.Load()
		}
		failpoint.Hit("control/reclaim/bit")
		if agent, _ := agentOf(w); isAgented(w) && agent == row && !t.carved(i) {
			r.word.Store(m.stamp(Destroying))
			failpoint.Hit("control/reclaim/inherited")
			m.owe(i)
		} else if m.moribund(i) {
			m.owe(i)
		}
	}
	p := &t.processes[row]
	p.segments.Store(0)
	failpoint.Hit("control/reclaim/uncounted")
	p.bytes.Store(0)
	return given
}

// ReleaseAll ends a member's life. It is called when no call of it is in flight: whatever it still holds is given
// back, and what it still was at work on, or no process keeps any more, falls to it (see Owed).
func (m *Member) ReleaseAll(ctx context.Context) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	m.reclaimRow(m.row)
	m.tally.balance()
	return nil
}

// Retry takes over the rows whose destroy failed, for another try (see Owed). It also makes good what a
// neighbour's stray store has left that no section leaves.
func (m *Member) Retry(ctx context.Context) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	for i := range m.t.segments {
		m.adoptFailed(i)
	}
	m.settle()
	if !bytes.Equal(m.t.constant, m.t.copied) { // no process could join any more
		copy(m.t.constant, m.t.copied)
	}
	if ino := m.t.members.Load(); m.t.header.members.Load() != ino {
		m.t.header.members.Store(ino)
	}
	return nil
}

func (m *Member) adoptFailed(i int) {
	r := &m.t.segments[i]
	if r.word.Load() == segmentWord(Destroying, nobody, 0) && !m.t.carved(i) {
		r.word.Store(m.stamp(Destroying))
		failpoint.Hit("control/retry/adopted")
		m.owe(i)
	}
}

// Close begins the end of the instance: from here on there is no new intent, reference or session, and all live
// segments, pinned or not, fall to this member (see Owed). Rows whose agent lives are left to it; Unfinished
// counts them.
func (m *Member) Close(ctx context.Context) error {
	err := m.close(ctx)
	if err == nil {
		failpoint.Hit("control/close/done")
		m.t.tell(shmsync.NewsEnd)
	}
	return err
}

func (m *Member) close(ctx context.Context) (err error) {
	s, err := m.enter(ctx, seizing)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	m.t.header.closing.Set()
	failpoint.Hit("control/close/said")
	m.say(Ending, 0)
	for i := range m.t.segments {
		if r := &m.t.segments[i]; stateOf(r.word.Load()) == Live {
			if m.t.carved(i) {
				m.t.freeCarved(i)
				failpoint.Hit("control/close/carved")
				continue
			}
			r.word.Store(m.stamp(Destroying))
			failpoint.Hit("control/close/row")
			m.owe(i)
		}
		m.adoptFailed(i)
	}
	return nil
}

// CloseByForce is Close for a caller that cannot get the lock: it only sets the closing flag, which every member sees at its next
// call. The caller destroys what Segments lists.
func (t *Table) CloseByForce() error {
	err := guarded(func() error {
		t.header.closing.Set()
		t.record(note{kind: Ending, subject: shmsync.Peer{Row: -1}})
		return nil
	})
	t.tell(shmsync.NewsEnd)
	return err
}

// Unfinished counts the rows that a process may still free: not those whose destroy failed, which wait for a Retry.
func (t *Table) Unfinished() (n int, err error) {
	err = guarded(func() error {
		for i := range t.segments {
			w := t.segments[i].word.Load()
			if s := stateOf(w); s != Free && s <= Destroying && w != segmentWord(Destroying, nobody, 0) {
				n++
			}
		}
		return nil
	})
	return n, err
}

// repair makes the table whole after its lock was taken over from a dead member, which may have died between any two stores. It
// reports whether it has reclaimed that one.
func (m *Member) repair(dead shmsync.Peer) (died bool) {
	if dead.Row >= 0 && dead.Row < len(m.t.processes) && dead.Row != m.row {
		p := &m.t.processes[dead.Row]
		w := p.word.Load()
		if isUsed(w) && incarnationOf(w)&shmsync.IncarnationMask == dead.Incarnation {
			began := time.Now()
			bytes := m.reclaimRow(dead.Row)
			failpoint.Hit("control/repair/reclaimed")
			m.bury(dead.Row, incarnationOf(w), bytes, began)
			p.word.CompareAndSwap(w, freedBy(incarnationOf(w)))
			failpoint.Hit("control/repair/freed")
			died = true
		}
	}
	m.settle()
	return died
}

// settle makes every row one that may exist outside a section, and counts again what is derived.
func (m *Member) settle() {
	t := m.t
	for i := range t.processes {
		t.processes[i].segments.Store(0)
		t.processes[i].bytes.Store(0)
	}
	failpoint.Hit("control/settle/zeroed")
	var usedRows uint32
	var usedBytes uint64
	doubt := false
	for i := range t.segments {
		r := &t.segments[i]
		w := t.mend(i)
		if stateOf(w) == Free {
			continue
		}
		doubt = doubt || !t.sound(i)
		size := r.size.Load()
		for k := range t.wordsPer {
			for set := t.bits[i*t.wordsPer+k].Load(); set != 0; set &= set - 1 {
				p := 64*k + bits.TrailingZeros64(set)
				if p >= len(t.processes) || !isUsed(t.processes[p].word.Load()) {
					t.clearBit(i, p) // no process's
					continue
				}
				t.processes[p].segments.Add(1)
				t.processes[p].bytes.Add(size)
			}
		}
		if stateOf(w) > Destroying || isAgented(w) && !t.current(w) {
			r.word.Store(m.stamp(Destroying))
			m.owe(i)
		} else if m.moribund(i) {
			m.owe(i)
		}
		if stateOf(r.word.Load()) != Free {
			usedRows++
			usedBytes += size
		}
	}
	t.mapPages(doubt)
	t.header.usedRows.Store(usedRows)
	failpoint.Hit("control/settle/half-counted")
	t.header.usedBytes.Store(usedBytes)
}

// current reports whether a row's agent is the present user of its process row.
func (t *Table) current(w uint64) bool {
	row, incarnation := agentOf(w)
	return row < len(t.processes) && t.processes[row].word.Load() == usedBy(incarnation)
}

// owe notes that row i is this member's to destroy.
func (m *Member) owe(i int) {
	m.owed[i/64].Or(1 << (i % 64))
	m.hasOwed.Store(true)
}

// Owe puts an entry on the list of Owed, for one whose row could not be freed though it is destroying, by this member.
func (m *Member) Owe(e Entry) {
	if i := e.row(); i < len(m.t.segments) {
		m.owe(i)
	}
}

// Owes reports whether there is something for Owed to give.
func (m *Member) Owes() bool { return m.hasOwed.Load() }

// Owed takes the list of objects that fell to this member: their rows are destroying, by it. For each the caller
// destroys the object and says Destroyed or DestroyFailed.
func (m *Member) Owed(ctx context.Context) (entries []Entry, err error) {
	if !m.Owes() {
		return nil, nil
	}
	entries = make([]Entry, 0, len(m.t.segments)) // no section holds an allocation
	s, err := m.enter(ctx, plain)
	if err != nil {
		return nil, err
	}
	defer s.leave(&err)
	m.hasOwed.Store(false)
	failpoint.Hit("control/owed/taking")
	for k := range m.owed {
		for set := m.owed[k].Swap(0); set != 0; set &= set - 1 {
			i := 64*k + bits.TrailingZeros64(set)
			r := &m.t.segments[i]
			if r.word.Load() != m.stamp(Destroying) {
				continue
			}
			if !m.t.sound(i) { // no process can tell which object it means; a sweep finds that by its name
				r.errno.Store(uint32(syscall.EILSEQ))
				r.word.Store(segmentWord(Destroying, nobody, 0))
				continue
			}
			entries = append(entries, m.t.entry(i))
		}
	}
	return entries, nil
}
