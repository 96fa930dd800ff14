package control

import (
	"math/bits"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// A process that dies in a section leaves the table as it was between two of its stores. The next process that gets the
// lock learns that from the lock itself, and runs what is in this file before anything else. A section that panics runs
// it too, and Retry, for what stray stores have left.
//
// A repair knows nothing of which section was cut short, and need not: it looks at each row by itself, and gives it the
// state that the row's own words bear out. The states, the checksums and the bits are the truth. The counts and the map
// of pages are derived from them, and made anew. A repair that is itself cut short by a death is begun again by the
// next holder of the lock.

// repairLocked makes the table whole after its lock was taken over from a dead member, which may have died between any
// two stores. It reports whether it has reclaimed that one. The caller holds the control lock, and has just got it.
func (m *Member) repairLocked(dead shmsync.Peer) (died bool) {
	// Hostile value: a garbled lock word, which names a row that does not exist, this member's own or that of a living
	// session. A living holder is not taken for dead (see alive), and by the incarnation the row is known to be still
	// the dead process's: a newcomer that joined over it reclaims it in its own first section.
	if dead.Row >= 0 && dead.Row < len(m.t.processes) && dead.Row != m.row {
		p := &m.t.processes[dead.Row]
		w := p.word.Load()
		if isUsedWord(w) && wordIncarnation(w)&shmsync.MutexIncarnationMask == dead.Incarnation {
			began := time.Now()
			bytes := m.reclaimRowLocked(dead.Row)
			failpoint.Hit("control/repair/reclaimed")
			m.recordDeathLocked(dead.Row, wordIncarnation(w), bytes, began)
			p.word.CompareAndSwap(w, freedWord(wordIncarnation(w)))
			failpoint.Hit("control/repair/freed")
			died = true
		}
	}
	m.repairTableLocked()
	return died
}

// repairTableLocked makes every row one that may exist outside a section, and counts again what is derived. The caller
// holds the control lock. What it makes this member's to destroy is owed. In each row it
//
//  1. mends the row's own words (repairRowLocked),
//  2. drops bits of process rows that have no user, and counts the others,
//  3. becomes the agent of a row whose agent is not the present user of its process row, or whose state is invalid, and of a
//     live row that nothing keeps,
//
// and at the end it makes the map of pages again. Each step finds its work in the rows alone, so it can be begun again
// from the start after a death at any store.
func (m *Member) repairTableLocked() {
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
		w := t.repairRowLocked(i)
		if wordState(w) == Free {
			continue
		}
		doubt = doubt || !t.isRowSound(i) // its page and size may be wrong: see mapPages
		size := r.size.Load()
		for k := range t.wordsPer {
			for set := t.bits[i*t.wordsPer+k].Load(); set != 0; set &= set - 1 {
				p := 64*k + bits.TrailingZeros64(set)
				// Hostile value: a bit beyond the process table, or of a free process row. It belongs to no process, so
				// no process would ever give it back.
				if p >= len(t.processes) || !isUsedWord(t.processes[p].word.Load()) {
					t.clearBitLocked(i, p)
					continue
				}
				t.processes[p].segments.Add(1)
				t.processes[p].bytes.Add(size)
			}
		}
		if wordState(w) > Destroying || wordHasAgent(w) && !t.wordAgentIsCurrent(w) {
			r.word.Store(m.stampWord(Destroying))
			m.addOwed(i)
		} else if m.makeMoribundLocked(i) {
			m.addOwed(i)
		}
		if wordState(r.word.Load()) != Free {
			usedRows++
			usedBytes += size
		}
	}
	t.mapPages(doubt)
	t.header.usedRows.Store(usedRows)
	failpoint.Hit("control/settle/half-counted")
	t.header.usedBytes.Store(usedBytes)
}

// repairRowLocked makes good what a stray store, or a death in a section, has left of row i, and returns its word. The
// caller holds the control lock.
//
// A carved row is free or live, and its pages must not be given to another process while a process holds it. So the rule
// for a sound carved row is: a bit in it, or a pin, keeps it, whatever its state says. The cases, in this order:
//
//	live, with an agent that can't be one     live without: a stray store, or a creator that is gone
//	sound and carved, in a state that it      live: a stray store hit the word, or write was cut short after the bit. If
//	can't have, or free with a bit or a pin   nothing keeps it, it is dropped in the same pass
//	free, with a checksum                     free without: free was cut short before its last store, or write before the bit
func (t *Table) repairRowLocked(i int) uint64 {
	r := &t.segments[i]
	w := r.word.Load()
	switch free := wordState(w) == Free; {
	case wordState(w) == Live && w != segmentWord(Live, 0, 0) && !t.rowMayBeUnpublished(i, w):
		w = segmentWord(Live, 0, 0)
		r.word.Store(w)
	case wordState(w) != Live && t.isCarved(i) && (!free || t.hasBits(i) || r.pin.Load() != unpinned):
		w = segmentWord(Live, 0, 0)
		r.word.Store(w)
	case free && r.check.Load() != 0:
		r.check.Store(0)
	}
	return w
}
