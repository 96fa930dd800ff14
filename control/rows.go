package control

import (
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// What can be done with one row of the segment table. All but the plain reads are for sections only.

// live finds the row of a live segment by its handle. A row whose parts don't fit together is ErrCorrupt.
func (t *Table) live(handle uint64) (int, error) {
	i := int(handle & 0xffff)
	if i >= len(t.segments) {
		return 0, ErrNotFound
	}
	r := &t.segments[i]
	if w := r.word.Load(); stateOf(w) > Destroying {
		return 0, errkind.As(ErrCorrupt,
			fmt.Errorf("control segment: the state of row %d is invalid: %d", i, stateOf(w)))
	} else if w != segmentWord(Live, 0, 0) || r.handle.Load() != handle {
		return 0, ErrNotFound
	}
	if p := r.pin.Load(); p > pinned && !isRoot(p) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the pin of row %d is invalid: %d", i, p))
	}
	if !t.sound(i) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the checksum of row %d is wrong", i))
	}
	return i, nil
}

// sound reports whether handle, size, word and page of a row are what was written together.
func (t *Table) sound(i int) bool {
	_, ok := t.word(i)
	return ok
}

// word returns the backend's word of a row that is sound. A creator that died before it had sealed the word leaves none.
func (t *Table) word(i int) (word uint64, sound bool) {
	r := &t.segments[i]
	h, size, word := r.handle.Load(), r.size.Load(), r.osWord.Load()
	if int(h&0xffff) != i || int(size) <= 0 || uint64(int(size)) != size {
		return 0, false
	}
	check, page := r.check.Load(), r.page.Load()
	if check == rowCheck(t.seed, h, size, word, page) {
		return word, t.within(size, word, page)
	}
	return 0, page == 0 && stateOf(r.word.Load()) != Live && check == rowCheck(t.seed, h, size, 0, 0)
}

func (t *Table) entry(i int) Entry {
	r := &t.segments[i]
	word, _ := t.word(i)
	return Entry{
		Handle: r.handle.Load(), Size: int(r.size.Load()), Word: word, Page: r.page.Load(),
		CreatorPid: int(r.creatorPid.Load()),
	}
}

// freeRow looks for a free row, at the hint first: there the last one was freed.
func (t *Table) freeRow() (int, bool) {
	n := len(t.segments)
	i := 0
	if hint := t.header.freeHint.Load(); hint < uint32(n) { // a remainder would take as long as a lock
		i = int(hint)
	}
	for range n {
		if r := &t.segments[i]; stateOf(r.word.Load()) == Free && r.check.Load() == 0 { // else a stray store has hit it
			return i, true
		}
		if i++; i == n {
			i = 0
		}
	}
	return 0, false
}

func (t *Table) free(i int, r *segmentRow) {
	t.clearBits(i)
	failpoint.Hit("control/free/bits")
	t.count(^uint32(0), -r.size.Load())
	ordered.Store64(&r.word, segmentWord(Free, 0, 0))
	failpoint.Hit("control/free/freed")
	ordered.Store64(&r.check, 0)
}

// count keeps the books' own counts.
func (t *Table) count(rows uint32, bytes uint64) {
	h := t.header
	ordered.Store32(&h.usedRows, h.usedRows.Load()+rows)
	failpoint.Hit("control/count/rows")
	ordered.Store64(&h.usedBytes, h.usedBytes.Load()+bytes)
}

// freeCarved frees the row and the pages of a segment in the reserved region; the system has no part in that.
func (t *Table) freeCarved(i int) {
	r := &t.segments[i]
	t.givePagesBack(r.page.Load(), r.size.Load())
	failpoint.Hit("control/free/pages")
	t.free(i, r)
	ordered.Store32(&t.header.freeHint, uint32(i))
}

// mend makes good what a stray store, or a death in a section, has left of a row, and returns its word. A carved
// row is free or live, and its pages must not be given to another process while a process holds it.
func (t *Table) mend(i int) uint64 {
	r := &t.segments[i]
	w := r.word.Load()
	switch free := stateOf(w) == Free; {
	case stateOf(w) == Live && w != segmentWord(Live, 0, 0) && !t.unpublished(i, w):
		w = segmentWord(Live, 0, 0)
		r.word.Store(w)
	case stateOf(w) != Live && t.carved(i) && (!free || t.hasBits(i) || r.pin.Load() != unpinned):
		w = segmentWord(Live, 0, 0)
		r.word.Store(w)
	case free && r.check.Load() != 0:
		r.check.Store(0)
	}
	return w
}

// unpublished reports whether row i can be one that its creator has not published yet, or could not: it has died, and a
// newcomer, which has still to reclaim it, has its row and so its bit.
func (t *Table) unpublished(i int, w uint64) bool {
	row, incarnation := agentOf(w)
	switch {
	case !t.carved(i) || row >= len(t.processes):
		return false
	case t.current(w):
		return true
	}
	p := t.processes[row].word.Load()
	return isUsed(p) && int32(incarnationOf(p)-incarnation) > 0 && t.onlyBit(i, row)
}

// onlyBit reports whether the process has the only reference to row i.
func (t *Table) onlyBit(i, process int) bool {
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

// bitsOf returns the reference bits of row i.
func (t *Table) bitsOf(i int) []atomic.Uint64 { return t.bits[i*t.wordsPer:][:t.wordsPer] }

// setBit and clearBit report whether the bit changed.

func (t *Table) setBit(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was|mask)
	return was&mask == 0
}

func (t *Table) clearBit(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was&^mask)
	return was&mask != 0
}

func (t *Table) clearBits(i int) {
	words := t.bitsOf(i)
	for k := range words {
		ordered.Store64(&words[k], 0)
	}
}

func (t *Table) hasBits(i int) bool {
	words := t.bitsOf(i)
	for k := range words {
		if words[k].Load() != 0 {
			return true
		}
	}
	return false
}
