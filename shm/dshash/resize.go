package dshash

import (
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// The change of a partition's array for a longer or a shorter one.
//
// A partition gets another array in steps, so that no call pays for all of it: each call that changes something in
// the partition makes one, under its lock, after its own work.
//
//	array  old  next         what a step does
//	A      0    0            nothing
//	A      0    B            clears a piece of B; when all is clear, A becomes old and B the array
//	B      A    0            moves the entries of some lines from A to B; when A is empty it becomes next, retired
//	B      0    A, retired   frees A
//
// A new entry goes into the array. An entry that moves is in the array before it is out of the old one: so a lookup
// that asks the old one first, and then the array, finds it at any time. The version goes up when A becomes old,
// since a reader that still takes A for the only array would miss what moves; and when A is retired, before it is
// freed.
//
// A partition with few entries changes its array in one call, and goes through the same rows. But B has all entries
// before it becomes the array, while it is hidden in next, and nothing moves: A is retired as it is.
//
// All functions of this file run with the partition's lock held exclusively by their caller. A process that dies in a
// step leaves one of the rows above, or a mixture of two that core.repairArrays undoes or completes. Nothing is promised
// about when a change ends: without further changes of the partition it stays where it is.

const (
	// retired is the value of progress if next is to be freed. No number of lines is as large.
	retired = 1 << 63
	// atMost is how many lines a step can move.
	atMost = 16
)

// pace is how many lines a step clears or moves; move is at most atMost. An array that has at most small lines, and
// comes in the place of one that has no more, comes at once. Tests have smaller numbers.
var pace = struct {
	clear, move uint64
	small       int
}{clear: 1024, move: atMost, small: 256}

// grown returns how many lines an array of n gets when it is crowded: half as many again, and twice as many if it is
// short. Of the growth of a table most is that of short arrays, and what they have too much of is little.
func grown(n int) int {
	if n < short {
		return max(1, 2*n)
	}
	return n + n/2
}

// short is from how many lines on an array grows by half.
const short = 32

// makeRoom finds a slot for a new entry, and notes it in local.change. An array that would be more than four fifths
// full grows first; if it can't, what room there is left is used. The error is that there is no memory,
// ErrSize of a partition that has as many lines as it can, or ErrCorrupt.
func (e *entry) makeRoom() error {
	t, i, c := e.l.t, e.l.i, &e.l.change
	p := &t.parts[i]
	var err error
	if n := len(c.ls); t.crowded(i, n) && !p.resizing() {
		err = e.refreshLines(t.beginResize(i, c.ls, grown(n)))
	}
	var ok bool
	// A full array whose change is under way: all that is left of the change is done now.
	if c.line, c.slot, ok = freeSlot(c.ls, c.h); !ok && err == nil && p.resizing() {
		err = e.refreshLines(t.finishResize(i))
		c.line, c.slot, ok = freeSlot(c.ls, c.h)
	}
	if ok {
		return nil
	}
	// An array that is less than full has a free slot. That there is none means that a stray store has hit the count
	// or the lines.
	if err == nil {
		err = corrupt("partition %d has no room, though it counts %d entries in %d lines",
			i, p.count.Load(), len(c.ls))
	}
	return err
}

// resizing reports whether the arrays are being changed. Without the lock it may be wrong one instruction later.
func (p *partition) resizing() bool { return p.next.Load()|p.old.Load() != 0 }

// crowded reports whether one more entry needs more than n lines: they would be more than four fifths full.
func (t *core) crowded(i, n int) bool {
	return n == 0 || (t.parts[i].count.Load()+1)*5 > uint64(n)*slotsPerLine*4
}

// sparse reports whether an array of n lines is less than a quarter full. Between a quarter and four fifths nothing
// changes, so that insertions and deletions in turn do not make an array grow and shrink.
func (t *core) sparse(i, n int) bool {
	return n > 1 && t.parts[i].count.Load()*4 < uint64(n)*slotsPerLine
}

// stepOrShrink makes a step if the arrays of partition i are being changed, or begins the change to a smaller array if
// this one is sparse. Each call that has changed the partition does so last. It has no error: what it can't do now is
// for the next call, and what it finds garbled marks the partition.
func (t *core) stepOrShrink(i int) {
	p := &t.parts[i]
	err := t.contained(func() error {
		if p.resizing() {
			return t.stepResize(i)
		}
		v, err := t.lockedView(i)
		if err != nil || !t.sparse(i, len(v.lines)) {
			return err
		}
		n, count := len(v.lines), int(p.count.Load())
		fewer := max(1, (count*2+slotsPerLine-1)/slotsPerLine)
		// There is room for those that come while the entries move.
		if n > pace.small {
			fewer = max(fewer, (count+n/int(pace.move)+1)*5/(4*slotsPerLine)+1)
		}
		return t.beginResize(i, v.lines, min(fewer, n-1))
	})
	if errors.Is(err, ErrCorrupt) {
		p.dirty.Store(1)
	}
}

// finishResize makes all steps that are left of a change, and ends early if one fails or the area ends.
func (t *core) finishResize(i int) error {
	for p := &t.parts[i]; p.resizing(); {
		if t.ends.Ended() {
			return errClosed
		}
		if err := t.stepResize(i); err != nil {
			return err
		}
	}
	return nil
}

// beginResize begins to replace the array of partition i, whose lines are old, by one of n. If both are small it does
// so at once. It allocates, and waits for the area's locks. If memory is refused no change has begun; after another
// error the change is where it is, and later calls go on with it.
func (t *core) beginResize(i int, old []line, n int) error {
	p, l := &t.parts[i], &t.local[i]
	if n > maxLines {
		return errkind.As(ErrSize,
			errors.New("dshash: a partition has as many entries as it can: give the table more (Options.Partitions)"))
	}
	// Progress is 0 before next is set. With what an earlier change has left there the new array might pass for one
	// that is clear, or retired.
	ordered.Store64(&p.progress, 0)
	next, b, err := t.area.AllocBytesInto(arraySize(n), l.next)
	if err != nil {
		// The area may have ended, or an object be gone, in a session that goes on and gives the lock back: what next has
		// then is no array yet, which the next holder would take for a garbled one. It repairs instead.
		if l.next.Pointer() != 0 {
			p.dirty.Store(1)
		}
		return err
	}
	// The number of lines is in the array before the lock is given back. A process that dies
	// before this store leaves an array in next that is none; the repair frees it like any other.
	failpoint.Hit("dshash/resize/allocated")
	wordAt(b).Store(uint64(n))
	p.endRebuild()
	if max(len(old), n) <= pace.small {
		return t.replaceArray(i, next, linesOf(b[linesOffset(next):], uint64(n)), old)
	}
	return nil
}

// replaceArray makes next, whose lines are ls, the array of partition i in the place of the present one, whose lines are
// old. It puts all entries into next while next is still hidden, so that no entry moves before the eyes of others. If it
// fails nothing has changed: progress is 0, so a later step clears next and begins anew.
func (t *core) replaceArray(i int, next dsa.Pointer, ls, old []line) error {
	clear(ls)
	failpoint.Hit("dshash/replace/cleared")
	var hashes [atMost][slotsPerLine]uint64
	for len(old) > 0 {
		piece := old[:min(len(old), atMost)]
		if err := t.hashLines(piece, &hashes); err != nil {
			return err
		}
		for k := range piece {
			for slot, h := range hashes[k] {
				if at := piece[k].slots[slot].Load(); at != 0 {
					if err := linkMoved(ls, h, at); err != nil {
						return err
					}
				}
			}
		}
		old = old[len(piece):]
	}
	failpoint.Hit("dshash/replace/filled")
	// Before others are led to the array, its entries are in the bytes that they have: see ended.go.
	if t.ends.Ended() {
		return errClosed
	}
	// Between the two calls each entry is in the old array and in the new one. A process that dies there leaves them so,
	// and the repair takes them out of the old one.
	t.publishArray(i, next)
	return t.retireArray(i)
}

// stepResize makes one step of the change that the words of partition i tell of, if there is one. The words are loaded
// once.
func (t *core) stepResize(i int) error {
	p := &t.parts[i]
	next, old, done := dsa.Pointer(p.next.Load()), dsa.Pointer(p.old.Load()), p.progress.Load()
	switch {
	case next != 0 && done == retired:
		return t.freeRetiredArray(i)
	case next != 0:
		return t.clearNextLines(i, next, done)
	case old != 0:
		return t.moveNextLines(i, done)
	}
	return nil
}

// publishArray makes next, which is whole, the array of partition i, and the present one the old one.
func (t *core) publishArray(i int, next dsa.Pointer) {
	p := &t.parts[i]
	// From here to endRebuild the order is such that A and B are each in one of the three words at every instruction,
	// so a death loses neither. With old == array nothing has happened yet; with next == array only next is to be
	// cleared: core.repairArrays does both.
	p.beginRebuild()
	failpoint.Hit("dshash/resize/odd")
	ordered.Store64(&p.old, p.array.Load())
	failpoint.Hit("dshash/resize/old")
	ordered.Store64(&p.array, uint64(next))
	failpoint.Hit("dshash/resize/array")
	ordered.Store64(&p.next, 0)
	failpoint.Hit("dshash/resize/taken")
	ordered.Store64(&p.progress, 0)
	p.endRebuild()
	failpoint.Hit("dshash/resize/even")
	// A reader that took A for the only array must not believe that an entry is missing once entries move.
	p.raiseVersion()
}

// retireArray takes the old array of partition i, of which no entry is needed any more, away from readers, and frees it.
func (t *core) retireArray(i int) error {
	p := &t.parts[i]
	// Progress says so before next has it, as otherwise a step might take A for an array that is all clear, and make it
	// the array. Next has A before old forgets it, so that A is in one of the words at every instruction.
	p.beginRebuild()
	ordered.Store64(&p.progress, retired)
	failpoint.Hit("dshash/resize/moved")
	ordered.Store64(&p.next, p.old.Load())
	failpoint.Hit("dshash/resize/retired")
	ordered.Store64(&p.old, 0)
	failpoint.Hit("dshash/resize/alone")
	p.endRebuild()
	// Readers may be in the old array, without a lock. They must look again before its memory is used for anything
	// else.
	p.raiseVersion()
	return t.freeRetiredArray(i)
}

// freeRetiredArray frees the array that is retired. If the area's lock is not free in time it fails, and a later step
// does it.
func (t *core) freeRetiredArray(i int) error {
	p := &t.parts[i]
	if err := t.freePlace(t.local[i].next); err != nil {
		return err
	}
	failpoint.Hit("dshash/resize/freed")
	ordered.Store64(&p.progress, 0)
	p.endRebuild()
	return nil
}
