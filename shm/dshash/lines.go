package dshash

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// linesAt returns the lines of the array at that pointer, by the function bytes; none if the pointer is 0. The number
// of lines is in memory that other processes write to: it is loaded once, and linesOf refuses a number that the bytes
// do not have room for. So the lines end within their segment, whatever the number says. That they are an array's is
// more than this function knows; see strictLines.
func (t *core) linesAt(at dsa.Pointer, bytes func(*core, dsa.Pointer) ([]byte, error)) ([]line, error) {
	if at == 0 {
		return nil, nil
	}
	b, err := bytes(t, at)
	if err != nil {
		return nil, err
	}
	// This refuses a pointer that leads to the end of a segment, where not even the number of lines has room.
	if len(b) < arraySize(1) {
		return nil, corrupt("the array at %v has %d bytes", at, len(b))
	}
	n := wordAt(b).Load()
	ls := linesOf(b[linesOffset(at):], n)
	if ls == nil {
		return nil, corrupt("the array at %v has %d lines", at, n)
	}
	return ls, nil
}

// clearNextLines clears the next piece of the array that comes, from line done on; after the last piece it makes that
// the array, and the present one the old one.
func (t *core) clearNextLines(i int, next dsa.Pointer, done uint64) error {
	p := &t.parts[i]
	// The array is looked up anew in each step, since a stray store may have hit the word: one that is no object of
	// its length is ErrCorrupt.
	ls, err := t.strictLines(next)
	if err != nil {
		return err
	}
	n := uint64(len(ls))
	// This refuses a progress beyond the array, which only a stray store can leave.
	done = min(done, n)
	to := min(done+pace.clear, n)
	clear(ls[done:to])
	failpoint.Hit("dshash/resize/cleared")
	// Before progress counts a piece as clear, it is clear in the bytes that others have: see ended.go.
	if t.ends.Ended() {
		return errClosed
	}
	if ordered.Store64(&p.progress, to); to == n {
		t.publishArray(i, next)
	}
	return nil
}

// moveNextLines moves the entries of some lines, from line done on, out of the old array; after the last line it retires
// that, and frees it.
func (t *core) moveNextLines(i int, done uint64) error {
	p := &t.parts[i]
	v, err := t.lockedView(i)
	if err != nil {
		return err
	}
	old := v.oldLines()
	n := uint64(len(old))
	// This refuses a progress beyond the array, which only a stray store can leave.
	done = min(done, n)
	to := min(done+pace.move, n)
	// The hashes come first, so that the processor waits for many items at once.
	var hashes [atMost][slotsPerLine]uint64
	if err := t.hashLines(old[done:to], &hashes); err != nil {
		return err
	}
	for k := range hashes[:to-done] {
		if err := t.moveLine(i, old, v.lines, int(done), &hashes[k]); err != nil {
			return err
		}
		done++
		// A process that dies before this store leaves an empty line that is not counted; the repair counts anew.
		ordered.Store64(&p.progress, done)
	}
	if done < n {
		return nil
	}
	return t.retireArray(i)
}

// moveLine moves the entries of line k of the old array, which have these hashes, into free slots of ls, the array.
// If it fails, each entry is in one array, or the partition is marked.
func (t *core) moveLine(i int, old, ls []line, k int, hashes *[slotsPerLine]uint64) error {
	from := &old[k]
	for slot, h := range hashes {
		at := from.slots[slot].Load()
		if at == 0 {
			continue
		}
		if err := linkMoved(ls, h, at); err != nil {
			return err
		}
		// The slot in the array may have been stored to private pages, and the one below might not be: then other
		// processes would find the entry in neither array. It stays in both, and a repair ends the move.
		if t.ends.Ended() {
			t.parts[i].dirty.Store(1)
			return errClosed
		}
		// From here on the entry is in the array only. No raise is needed: a reader that asks the old array before
		// this store finds the entry there, and one that asks after it finds it in the array.
		ordered.Store64(&from.slots[slot], 0)
		failpoint.Hit("dshash/move/unlinked")
		eachPassedLine(old, h, k, func(l *line) { ordered.Store64(&l.tags, loweredOverflow(l.tags.Load())) })
	}
	// The line is empty. Its overflow stays, as it counts entries of other lines.
	ordered.Store64(&from.tags, from.tags.Load()&^(overflowUnit-1))
	failpoint.Hit("dshash/move/line")
	return nil
}

// linkMoved puts the entry with hash h, whose item is at, into a free slot of ls, which is the array or will be. The order
// is that of an insertion, for the same reasons; see entry.commit. After the store of the slot the entry is in both
// arrays. A process that dies there leaves it in both, and the repair takes it out of the old one.
func linkMoved(ls []line, h, at uint64) error {
	to, free, ok := freeSlot(ls, h)
	// This refuses a count that a stray store has made too low: the array was made for as many entries as it said.
	if !ok {
		return corrupt("an array has more entries than its partition counts")
	}
	eachPassedLine(ls, h, to, func(l *line) { ordered.Store64(&l.tags, raisedOverflow(l.tags.Load())) })
	l := &ls[to]
	ordered.Store64(&l.slots[free], at)
	failpoint.Hit("dshash/move/linked")
	ordered.Store64(&l.tags, withTag(l.tags.Load(), free, tagOf(h)))
	failpoint.Hit("dshash/move/tagged")
	return nil
}

// refreshLines looks at the partition's arrays again after a call that may have changed them, whose error is err, and
// returns err, or its own error if it can't.
func (e *entry) refreshLines(err error) error {
	v, verr := e.l.t.lockedView(e.l.i)
	if verr != nil {
		return verr
	}
	e.l.change.ls, e.l.change.busy = v.lines, v.busy != nil
	return err
}
