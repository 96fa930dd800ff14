package control

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// A reclaim gives back what a dead process held in the books. This file does it for one process row; which rows are to
// be reclaimed is for the caller to find out, and Reclaim asks once more. It removes no objects: these are owed
// (owed.go).
//
// A reclaimer may die too, after any store. What it has done by then is done, and the row still reads as the dead
// process's: the next reclaimer does the rest. What the first one was at work on falls to its own reclaimer, by the same
// rule.

// Reclaim finishes, for the dead user of a process row, what it would have done at exit, in one section:
// its references are given back, what it was at work on and what no process keeps any more falls to this
// member (see Owed), and its row is free. The row is left alone, and done is false, if its user has
// changed or is not dead after all. It waits for the control lock as long as ctx, and 10 s at most; if the dead process
// holds the lock, it takes that over at once.
func (m *Member) Reclaim(ctx context.Context, row int, incarnation uint32) (done bool, err error) {
	s, err := m.enter(ctx, seizing)
	if err != nil {
		return false, err
	}
	defer s.leaveSection(&err)
	// A row that does not exist comes from a garbled list of rows. Its own row a member does not reclaim: it lives.
	if row < 0 || row >= len(m.t.processes) || row == m.row {
		return false, nil
	}
	if dead, abandoned := s.guard.Abandoned(); abandoned && dead == mutexPeer(row, incarnation) {
		return true, nil // it died with the lock, and repair has reclaimed it
	}
	p := &m.t.processes[row]
	// Asked under the lock: from here on the bits of the row are the dead process's alone. A newcomer that joins over
	// the row now gets no reference before its first section, which waits for this one.
	if p.word.Load() != usedWord(incarnation) || m.witness.Held(row) {
		return false, nil
	}
	failpoint.Hit("control/reclaim/locked")
	began := time.Now()
	// The bits, then the log, then the row. The row is free last: as long as it is used, a reclaimer that dies is
	// followed by another one, which clears what is left and logs the death if that is not done. A row that was free
	// first would leave bits that belong to no process, and that the row's next user would take for its own.
	bytes := m.reclaimRowLocked(row)
	failpoint.Hit("control/reclaim/given-back")
	m.recordDeathLocked(row, incarnation, bytes, began)
	s.died = true
	// A newcomer may have joined over the dead process in this moment; then its word stays.
	p.word.CompareAndSwap(usedWord(incarnation), freedWord(incarnation))
	failpoint.Hit("control/reclaim/freed")
	return true, nil
}

// reclaimRowLocked clears the bits of a process row that has no living user, or only one that has not begun its first
// section, and takes its place as an agent, whatever the incarnation. It returns how many bytes it gave references back
// to. The caller holds the control lock. It may be cut short after any store and done again from the start, by another
// member too: each of its stores is one that a second run skips or makes again.
func (m *Member) reclaimRowLocked(row int) (given uint64) {
	t := m.t
	for i := range t.segments {
		r := &t.segments[i]
		w := r.word.Load()
		if wordState(w) == Free { // its bits mean nothing, and are cleared when it is written
			continue
		}
		if t.clearBitLocked(i, row) {
			given += r.size.Load()
		}
		failpoint.Hit("control/reclaim/bit")
		// The new agent is stored before it is owed: the list of what is owed lies in this process's own memory, and
		// goes with it. A member that dies after the store is found as the row's dead agent.
		if agent, _ := wordAgent(w); wordHasAgent(w) && agent == row && !t.isCarved(i) {
			r.word.Store(m.stampWord(Destroying))
			failpoint.Hit("control/reclaim/inherited")
			m.addOwed(i)
		} else if m.makeMoribundLocked(i) {
			m.addOwed(i)
		}
	}
	p := &t.processes[row]
	p.segments.Store(0)
	failpoint.Hit("control/reclaim/uncounted")
	p.bytes.Store(0)
	return given
}

// ReleaseAll gives back all that the member holds, before it leaves. It is called when no call of the member is in
// flight: whatever it still holds is given back, and what it still was at work on, or no process keeps any more, falls
// to it (see Owed). After it come Owed, Destroyed and Leave. A process that dies after it is reclaimed, with less to
// give back.
func (m *Member) ReleaseAll(ctx context.Context) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	m.reclaimRowLocked(m.row)
	m.tally.balanceLocked()
	return nil
}
