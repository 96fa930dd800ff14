package control

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
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
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the state of row %d can't be right: %d", i, stateOf(w)))
	} else if stateOf(w) != Live || r.handle.Load() != handle {
		return 0, ErrNotFound
	}
	if p := r.pin.Load(); p > pinned && !isRoot(p) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the pin of row %d can't be right: %d", i, p))
	}
	if !t.sound(i) {
		return 0, errkind.As(ErrCorrupt, fmt.Errorf("control segment: the checksum of row %d is wrong", i))
	}
	return i, nil
}

// sound says whether handle, size and word of a row are what was written together.
func (t *Table) sound(i int) bool {
	_, ok := t.word(i)
	return ok
}

// word is the backend's word of a row that is sound. A creator that died before it had sealed the word leaves none.
func (t *Table) word(i int) (word uint64, sound bool) {
	r := &t.segments[i]
	h, size, word := r.handle.Load(), r.size.Load(), r.osWord.Load()
	if int(h&0xffff) != i || int(size) <= 0 || uint64(int(size)) != size {
		return 0, false
	}
	check := r.check.Load()
	if check == rowCheck(t.seed, h, size, word) {
		return word, true
	}
	return 0, stateOf(r.word.Load()) != Live && check == rowCheck(t.seed, h, size, 0)
}

func (t *Table) entry(i int) Entry {
	r := &t.segments[i]
	word, _ := t.word(i)
	return Entry{Handle: r.handle.Load(), Size: int(r.size.Load()), Word: word, CreatorPid: int(r.creatorPid.Load())}
}

// freeRow looks for a free row, at the hint first: there the last one was freed.
func (t *Table) freeRow() (int, bool) {
	n := len(t.segments)
	for i, k := int(t.header.freeHint.Load()%uint32(n)), 0; k < n; k++ {
		if stateOf(t.segments[i].word.Load()) == Free {
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
	t.header.usedRows.Add(^uint32(0))
	failpoint.Hit("control/free/counted")
	t.header.usedBytes.Add(-r.size.Load())
	r.word.Store(segmentWord(Free, 0, 0))
}

// setBit and clearBit say whether the bit changed.

func (t *Table) setBit(i, process int) bool {
	w, mask := &t.bits[i*t.wordsPer+process/64], uint64(1)<<(process%64)
	return w.Or(mask)&mask == 0
}

func (t *Table) clearBit(i, process int) bool {
	w, mask := &t.bits[i*t.wordsPer+process/64], uint64(1)<<(process%64)
	return w.And(^mask)&mask != 0
}

func (t *Table) clearBits(i int) {
	for k := range t.wordsPer {
		t.bits[i*t.wordsPer+k].Store(0)
	}
}

func (t *Table) hasBits(i int) bool {
	for k := range t.wordsPer {
		if t.bits[i*t.wordsPer+k].Load() != 0 {
			return true
		}
	}
	return false
}
