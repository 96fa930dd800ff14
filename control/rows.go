package control

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// What can be done with one row of the segment table. All but the plain reads are for sections only, and end in Locked.
// A handle holds the number of its row, so finding a row is one comparison, and there is no index that could be wrong.

// liveRow finds the row of a live segment by its handle. It is ErrNotFound if there is none, or if its creator has not
// published it. A row whose parts don't fit together is ErrCorrupt: no caller maps or removes what it seems to say.
func (t *Table) liveRow(handle uint64) (int, error) {
	i := int(handle & 0xffff)
	if i >= len(t.segments) { // the handle is a program's, and may be any number
		return 0, ErrNotFound
	}
	r := &t.segments[i]
	// Hostile values: a state that does not exist, a pin that is none of the legal ones, and a handle, size, backend's
	// word or page that were not written together.
	if w := r.word.Load(); wordState(w) > Destroying {
		return 0, errkind.As(ErrCorrupt,
			fmt.Errorf("control segment: the state of row %d is invalid: %d", i, wordState(w)))
	} else if w != segmentWord(Live, 0, 0) || r.handle.Load() != handle {
		return 0, ErrNotFound
	}
	if p := r.pin.Load(); p > pinned && !isRoot(p) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the pin of row %d is invalid: %d", i, p))
	}
	if !t.isRowSound(i) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the checksum of row %d is wrong", i))
	}
	return i, nil
}

// isRowSound reports whether handle, size, word and page of a row are what was written together.
func (t *Table) isRowSound(i int) bool {
	_, ok := t.loadRowWord(i)
	return ok
}

// loadRowWord returns the backend's word of row i, and reports whether the row is sound. A creator that died between the
// word and the checksum that covers it leaves a row that is sound without a word, and then 0 is returned: the checksum
// is the one of the intent. It needs no lock for that; without it a row that is being written is not sound.
func (t *Table) loadRowWord(i int) (word uint64, sound bool) {
	r := &t.segments[i]
	h, size, word := r.handle.Load(), r.size.Load(), r.osWord.Load()
	// Hostile values: another row's handle, and a size that is 0, or too large for an int of this system.
	if int(h&0xffff) != i || int(size) <= 0 || uint64(int(size)) != size {
		return 0, false
	}
	check, page := r.check.Load(), r.page.Load()
	if check == rowCheck(t.seed, h, size, word, page) {
		return word, t.pagesInRegion(size, word, page)
	}
	return 0, page == 0 && wordState(r.word.Load()) != Live && check == rowCheck(t.seed, h, size, 0, 0)
}

// freeRowLocked looks for a free row, at the hint first: there the last one was freed. The caller holds the control
// lock. It takes longer the fuller the table is: all rows in the worst case, some 65,000 loads.
func (t *Table) freeRowLocked() (int, bool) {
	n := len(t.segments)
	i := 0
	// Hostile value: a hint beyond the table.
	if hint := t.header.freeHint.Load(); hint < uint32(n) { // a remainder would take as long as a lock
		i = int(hint)
	}
	for range n {
		// A free row with a checksum is one whose state a stray store has hit, or one that was freed by a process that
		// died before its last store. It is left alone until it is repaired, since it may have holders.
		if r := &t.segments[i]; wordState(r.word.Load()) == Free && r.check.Load() == 0 {
			return i, true
		}
		if i++; i == n {
			i = 0
		}
	}
	return 0, false
}

// freeSegmentRowLocked makes row i free. Its pages, if it has any, are given back before. The caller holds the control
// lock.
//
// The bits go first: a bit in a free carved row means that a stray store hit the state, and repairRowLocked would make
// it live again. A process that dies after the bits leaves a row in its old state without holders, which the repair
// retires. The state comes before the checksum: a process that dies between them leaves a free row that is not used
// before it is repaired.
func (t *Table) freeSegmentRowLocked(i int, r *segmentRow) {
	t.clearBitsLocked(i)
	failpoint.Hit("control/free/bits")
	t.countRowsLocked(^uint32(0), -r.size.Load())
	ordered.Store64(&r.word, segmentWord(Free, 0, 0))
	failpoint.Hit("control/free/freed")
	ordered.Store64(&r.check, 0)
}

// countRowsLocked adds to the counts of used rows and of their bytes. The caller holds the control lock. To subtract, the
// caller adds the complement. A garbled count wraps around and is wrong until the table is repaired.
func (t *Table) countRowsLocked(rows uint32, bytes uint64) {
	h := t.header
	ordered.Store32(&h.usedRows, h.usedRows.Load()+rows)
	failpoint.Hit("control/count/rows")
	ordered.Store64(&h.usedBytes, h.usedBytes.Load()+bytes)
}

// rowMayBeUnpublished reports whether row i, whose word is w, can be one that its creator has not published yet. Either the
// creator is the present user of its process row. Or it has died, and a newcomer, which has still to reclaim it, has
// its row and so its bit: then the word names an earlier incarnation, and the bit is the only one, since no process
// could attach.
func (t *Table) rowMayBeUnpublished(i int, w uint64) bool {
	row, incarnation := wordAgent(w)
	switch {
	case !t.isCarved(i) || row >= len(t.processes): // hostile value: an agent's row of up to 16 bits
		return false
	case t.wordAgentIsCurrent(w):
		return true
	}
	p := t.processes[row].word.Load()
	return isUsedWord(p) && int32(wordIncarnation(p)-incarnation) > 0 && t.hasOnlyBit(i, row)
}

// RowState returns the state of a row now; Free for one that does not exist. Row comes from an Entry, and is not
// negative.
func (t *Table) RowState(row int) (s SegmentState) {
	if row < len(t.segments) {
		_ = contained(func() error { s = wordState(t.segments[row].word.Load()); return nil })
	}
	return s
}

// ownRowLocked returns the row of an entry that this member is at work on. The caller holds the control lock. ErrCorrupt
// means that the row is not in state s by this member: only a stray store takes a row from an agent that lives. The
// whole word is compared, so a row that another agent has by now is refused too.
func (m *Member) ownRowLocked(e Entry, s SegmentState) (*segmentRow, error) {
	if i := e.row(); i < len(m.t.segments) {
		r := &m.t.segments[i]
		if r.handle.Load() == e.Handle && r.word.Load() == m.stampWord(s) {
			return r, nil
		}
	}
	return nil, errkind.As(ErrCorrupt,
		fmt.Errorf("control segment: row %d is not %v by this session any more", e.row(), s))
}

// retireRowLocked retires row i, which nothing keeps. The caller holds the control lock. It reports whether there is an
// object to destroy. Of a segment with an object the state is the only store: a death before it leaves a live row that
// nothing keeps, for the repair, and a death after it a destroying row, whose agent a reclaimer replaces.
func (m *Member) retireRowLocked(i int, carved bool) bool {
	if carved {
		m.t.freeCarvedLocked(i)
		failpoint.Hit("control/moribund/freed")
		return false
	}
	m.t.segments[i].word.Store(m.stampWord(Destroying))
	failpoint.Hit("control/moribund/stamped")
	return true
}

// writeRowLocked fills in a free row, with a reference of this member's, and gives it its state s last. The caller holds
// the control lock, and freeRowLocked has found the row.
//
// A row becomes a member's in two stores, not in one: the checksum, which seals what the row says, and the reference
// bit. The state comes after both. So there is a moment in which the row reads free, and is sealed, and has a bit. If
// the section ends there, by a death or by a panic, repairRowLocked decides by the checksum and the bit and not by the
// state. A carved segment is live then, with one reference. If its member lives it goes when the member ends; if it is
// dead, it goes at once, since the repair drops the bits of dead processes. A segment with an object of its own is free
// then: the system has not been asked yet, so there is nothing to remove.
func (m *Member) writeRowLocked(e *Entry, now int64, s SegmentState) {
	t, i := m.t, e.row()
	m.latest = max(now, m.latest+1)
	r := &t.segments[i]
	t.clearBitsLocked(i) // a free row may have a bit that a death in an earlier write left
	// From here to the checksum the row is free and its check is 0: a death leaves a free row, whatever else is in it.
	ordered.Store64(&r.handle, e.Handle)
	ordered.Store64(&r.size, uint64(e.Size))
	failpoint.Hit("control/create/half-written")
	ordered.Store64(&r.osWord, 0)
	ordered.Store32(&r.page, e.Page)
	ordered.Store64(&r.created, uint64(m.latest))
	ordered.Store32(&r.creatorPid, uint32(e.CreatorPid))
	r.creator.store(&m.application)
	ordered.Store32(&r.pin, unpinned)
	ordered.Store32(&r.errno, 0)
	ordered.Store64(&r.check, rowCheck(t.seed, e.Handle, uint64(e.Size), 0, e.Page))
	failpoint.Hit("control/create/sealed")
	// A row that is sealed and has no bit, as a death here leaves it, is free again after the repair.
	t.setBitLocked(i, m.row)
	failpoint.Hit("control/create/referenced")
	// The counts are derived; repairTableLocked makes them again if this process dies between them.
	m.countSegmentsLocked(1, e.Size)
	t.countRowsLocked(1, uint64(e.Size))
	ordered.Store32(&t.header.freeHint, uint32(i+1))
	failpoint.Hit("control/create/accounted")
	w := m.stampWord(s)
	if s == Live {
		w = m.unpublishedWord()
	}
	// The last store: from here on the row is not free, and a death leaves it to the rules of its state.
	ordered.Store64(&r.word, w)
}

// rowCheck binds a row's handle, size, osWord and page together, so that a flipped bit can't make a session map or
// remove what it was not meant to. The seed follows from the header's constants, so a row that is copied from another
// generation is not sound either.
func rowCheck(seed, handle, size, osWord uint64, page uint32) uint64 {
	return mixRowCheck(mixRowCheck(mixRowCheck(seed^handle)^size) ^ osWord ^ uint64(page)<<32) // one of the last two is 0
}

// mixRowCheck returns the finalizer of splitmix64.
func mixRowCheck(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
