package control

import (
	"fmt"
	"sync/atomic"

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
	if w := r.word.Load(); stateOf(w) > Destroying {
		return 0, errkind.As(ErrCorrupt,
			fmt.Errorf("control segment: the state of row %d is invalid: %d", i, stateOf(w)))
	} else if w != segmentWord(Live, 0, 0) || r.handle.Load() != handle {
		return 0, ErrNotFound
	}
	if p := r.pin.Load(); p > pinned && !isRoot(p) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the pin of row %d is invalid: %d", i, p))
	}
	if !t.isSound(i) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the checksum of row %d is wrong", i))
	}
	return i, nil
}

// isSound reports whether handle, size, word and page of a row are what was written together.
func (t *Table) isSound(i int) bool {
	_, ok := t.loadWord(i)
	return ok
}

// loadWord returns the backend's word of row i, and reports whether the row is sound. A creator that died between the
// word and the checksum that covers it leaves a row that is sound without a word, and then 0 is returned: the checksum
// is the one of the intent. It needs no lock for that; without it a row that is being written is not sound.
func (t *Table) loadWord(i int) (word uint64, sound bool) {
	r := &t.segments[i]
	h, size, word := r.handle.Load(), r.size.Load(), r.osWord.Load()
	// Hostile values: another row's handle, and a size that is 0, or too large for an int of this system.
	if int(h&0xffff) != i || int(size) <= 0 || uint64(int(size)) != size {
		return 0, false
	}
	check, page := r.check.Load(), r.page.Load()
	if check == rowCheck(t.seed, h, size, word, page) {
		return word, t.withinRegion(size, word, page)
	}
	return 0, page == 0 && stateOf(r.word.Load()) != Live && check == rowCheck(t.seed, h, size, 0, 0)
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
		if r := &t.segments[i]; stateOf(r.word.Load()) == Free && r.check.Load() == 0 {
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
	t.countLocked(^uint32(0), -r.size.Load())
	ordered.Store64(&r.word, segmentWord(Free, 0, 0))
	failpoint.Hit("control/free/freed")
	ordered.Store64(&r.check, 0)
}

// countLocked adds to the counts of used rows and of their bytes. The caller holds the control lock. To subtract, the
// caller adds the complement. A garbled count wraps around and is wrong until the table is repaired.
func (t *Table) countLocked(rows uint32, bytes uint64) {
	h := t.header
	ordered.Store32(&h.usedRows, h.usedRows.Load()+rows)
	failpoint.Hit("control/count/rows")
	ordered.Store64(&h.usedBytes, h.usedBytes.Load()+bytes)
}

// freeCarvedLocked frees the row and the pages of a segment in the reserved region; the caller holds the control lock,
// and the system has no part in that. The row must be sound, since its page and size are believed. The pages go before
// the row: a process that dies in between leaves a row that still says where they are, and the repair makes the map of
// pages from it.
func (t *Table) freeCarvedLocked(i int) {
	r := &t.segments[i]
	t.freeRowPagesLocked(r.page.Load(), r.size.Load())
	failpoint.Hit("control/free/pages")
	t.freeSegmentRowLocked(i, r)
	ordered.Store32(&t.header.freeHint, uint32(i))
}

// bitsOf returns the reference bits of row i.
func (t *Table) bitsOf(i int) []atomic.Uint64 { return t.bits[i*t.wordsPer:][:t.wordsPer] }

// setBitLocked gives a process row the reference bit of row i, and reports whether it had none before. The caller holds
// the control lock. One store is enough, and no addition: the lock makes this process the only writer of the word.
func (t *Table) setBitLocked(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was|mask)
	return was&mask == 0
}

// clearBitLocked takes the reference bit of row i from a process row, and reports whether it had one. The caller holds
// the control lock. The process row may be any that a row's bits have room for, also one beyond the process table.
func (t *Table) clearBitLocked(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was&^mask)
	return was&mask != 0
}

// clearBitsLocked takes all reference bits of row i away. The caller holds the control lock. A death in between leaves
// some of them.
func (t *Table) clearBitsLocked(i int) {
	words := t.bitsOf(i)
	for k := range words {
		ordered.Store64(&words[k], 0)
	}
}

// hasBits reports whether any process row has a reference bit of row i.
func (t *Table) hasBits(i int) bool {
	words := t.bitsOf(i)
	for k := range words {
		if words[k].Load() != 0 {
			return true
		}
	}
	return false
}

// isCarved reports whether row i is, soundly, that of a segment in the reserved region. A row that is not sound is never
// carved: what it says of pages is not believed.
func (t *Table) isCarved(i int) bool {
	r := &t.segments[i]
	return r.page.Load() != 0 && t.isSound(i)
}

// hasOnlyBit reports whether the process row has the only reference bit of row i.
func (t *Table) hasOnlyBit(i, process int) bool {
	words := t.bitsOf(i)
	for k := range words {
		want := uint64(0)
		if k == process/64 {
			want = 1 << (process % 64)
		}
		if words[k].Load() != want {
			return false
		}
	}
	return true
}
