package dshash

import (
	"encoding/binary"
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// A partition gets another array in steps, so that no call pays for all of it: each call that changes something in the
// partition makes one, under its lock, when it is done otherwise.
//
//	array  old  next         what a step does
//	A      0    0            nothing
//	A      0    B            clears a piece of B; when all is clear, A becomes old and B the array
//	B      A    0            moves the entries of some lines from A to B; when A is empty it becomes next, retired
//	B      0    A, retired   frees A
//
// A new entry goes into the array. An entry that moves is in the array before it is out of the old one: so who looks in
// the old one first, and then in the array, finds it at any time. The version goes up when A becomes old, since nobody
// who takes it for the array may miss what moves; and when it is retired, before it is freed.

const (
	retired = 1 << 63 // progress, if next is to be freed
	atMost  = 16      // lines whose entries a step moves
)

// pace is how many lines a step does. Tests have smaller ones.
var pace = struct {
	clear, move uint64
	small       int // an array of so many that comes in the place of one that is no larger comes at once
}{clear: 1024, move: atMost, small: 256}

// makeRoom finds a slot for a new entry. An array that is more than four fifths full grows by half first; if it
// can't, what room there is left is used.
func (e *entry) makeRoom() error {
	t, i, c := e.l.t, e.l.i, &e.l.change
	p := &t.parts[i]
	var err error
	if n := len(c.ls); t.crowded(i, n) && !p.busy() {
		err = e.regrown(t.resize(i, n, max(n+1, n+n/2)))
	}
	var ok bool
	if c.line, c.slot, ok = room(c.ls, c.h); !ok && err == nil && p.busy() {
		err = e.regrown(t.settleArrays(i))
		c.line, c.slot, ok = room(c.ls, c.h)
	}
	if ok {
		return nil
	}
	if err == nil {
		err = corrupt("partition %d has no room, though it counts %d entries in %d lines",
			i, p.count.Load(), len(c.ls))
	}
	return err
}

// busy reports whether the arrays are being changed.
func (p *partition) busy() bool { return p.next.Load()|p.old.Load() != 0 }

// crowded reports whether one more entry needs more lines than n.
func (t *core) crowded(i, n int) bool {
	return n == 0 || (t.parts[i].count.Load()+1)*5 > uint64(n)*slotsPerLine*4
}

// sparse reports whether an array of n lines is less than a quarter full.
func (t *core) sparse(i, n int) bool {
	return n > 1 && t.parts[i].count.Load()*4 < uint64(n)*slotsPerLine
}

// regrown looks at the partition's arrays again after a change of them.
func (e *entry) regrown(err error) error {
	v, verr := e.l.t.lines(e.l.i)
	if verr != nil {
		return verr
	}
	e.l.change.ls, e.l.change.busy = v.lines, v.busy != nil
	return err
}

// tend is the last thing that a call does which has changed the partition: a step, if the arrays are being changed; or
// the first one to a smaller array, if this one is sparse. It need not succeed.
func (t *core) tend(i int) {
	p := &t.parts[i]
	err := t.contained(func() error {
		if p.busy() {
			return t.step(i)
		}
		v, err := t.lines(i)
		if err != nil || !t.sparse(i, len(v.lines)) {
			return err
		}
		n, count := len(v.lines), int(p.count.Load())
		fewer := max(1, (count*2+slotsPerLine-1)/slotsPerLine)
		if n > pace.small { // room for those that come while entries move
			fewer = max(fewer, (count+n/int(pace.move)+1)*5/(4*slotsPerLine)+1)
		}
		return t.resize(i, n, min(fewer, n-1))
	})
	if errors.Is(err, ErrCorrupt) {
		p.dirty.Store(1)
	}
}

// settleArrays makes all the steps that there are to be made.
func (t *core) settleArrays(i int) error {
	for p := &t.parts[i]; p.busy(); {
		if t.ends.Ended() {
			return errClosed
		}
		if err := t.step(i); err != nil {
			return err
		}
	}
	return nil
}

// resize begins to replace the array, of so many lines, by one of n. Small ones it replaces.
func (t *core) resize(i, lines, n int) error {
	p, l := &t.parts[i], &t.local[i]
	if n > maxLines {
		return errkind.As(ErrSize,
			errors.New("dshash: a partition has as many entries as it can: give the table more (Options.Partitions)"))
	}
	ordered.Store64(&p.progress, 0)
	if err := t.area.AllocInto(arraySize(n), l.next); err != nil {
		return err
	}
	failpoint.Hit("dshash/resize/allocated")
	b, err := t.area.Bytes(l.next.Pointer())
	if err != nil {
		return err
	}
	wordAt(b).Store(uint64(n))
	p.arranged()
	if max(lines, n) <= pace.small {
		return t.settleArrays(i)
	}
	return nil
}

// step makes one step, if there is one to make.
func (t *core) step(i int) error {
	p := &t.parts[i]
	next, old, done := dsa.Pointer(p.next.Load()), dsa.Pointer(p.old.Load()), p.progress.Load()
	switch {
	case next != 0 && done == retired:
		return t.discard(i)
	case next != 0:
		return t.clearSome(i, next, done)
	case old != 0:
		return t.moveSome(i, done)
	}
	return nil
}

// clearSome clears a piece of the array that comes.
func (t *core) clearSome(i int, next dsa.Pointer, done uint64) error {
	p := &t.parts[i]
	ls, err := t.strictLines(next)
	if err != nil {
		return err
	}
	n := uint64(len(ls))
	done = min(done, n)
	to := min(done+pace.clear, n)
	clear(ls[done:to])
	failpoint.Hit("dshash/resize/cleared")
	if t.ends.Ended() { // so the pieces are clear in the bytes that others have: see ended.go
		return errClosed
	}
	if ordered.Store64(&p.progress, to); to < n {
		return nil
	}
	p.rearrange()
	failpoint.Hit("dshash/resize/odd")
	ordered.Store64(&p.old, p.array.Load())
	failpoint.Hit("dshash/resize/old")
	ordered.Store64(&p.array, uint64(next))
	failpoint.Hit("dshash/resize/array")
	ordered.Store64(&p.next, 0)
	failpoint.Hit("dshash/resize/taken")
	ordered.Store64(&p.progress, 0)
	p.arranged()
	failpoint.Hit("dshash/resize/even")
	p.raise()
	return nil
}

// moveSome moves the entries of some lines from the old array.
func (t *core) moveSome(i int, done uint64) error {
	p := &t.parts[i]
	v, err := t.lines(i)
	if err != nil {
		return err
	}
	old := v.old()
	n := uint64(len(old))
	done = min(done, n)
	to := min(done+pace.move, n)
	var hashes [atMost][slotsPerLine]uint64 // first of all, so that the processor waits for many items at once
	for k := range to - done {
		if err := t.hashLine(&old[done+k], &hashes[k]); err != nil {
			return err
		}
	}
	for k := range hashes[:to-done] {
		if err := t.moveLine(i, old, v.lines, int(done), &hashes[k]); err != nil {
			return err
		}
		done++
		ordered.Store64(&p.progress, done)
	}
	if done < n {
		return nil
	}
	p.rearrange()
	ordered.Store64(&p.progress, retired)
	failpoint.Hit("dshash/resize/moved")
	ordered.Store64(&p.next, p.old.Load())
	failpoint.Hit("dshash/resize/retired")
	ordered.Store64(&p.old, 0)
	failpoint.Hit("dshash/resize/alone")
	p.arranged()
	p.raise()
	return t.discard(i)
}

// hashLine is the hashes of a line's keys.
func (t *core) hashLine(l *line, hashes *[slotsPerLine]uint64) error {
	for slot := range l.slots {
		at := dsa.Pointer(l.slots[slot].Load())
		if at == 0 {
			continue
		}
		if t.word { // hashed without a call: most of what a move takes is the wait for the items
			if b := t.area.Peek(at); len(b) >= t.size {
				hashes[slot] = hashWord(binary.NativeEndian.Uint64(b), t.seed)
				continue
			}
		}
		b, err := t.at(at)
		if err != nil {
			return err
		}
		key, whole := t.keyOf(b)
		if !whole {
			return corrupt("the item at %v is longer than its segment", at)
		}
		hashes[slot] = hashOf(key, t.seed)
	}
	return nil
}

// moveLine moves the entries of line k of the old array, which have these hashes.
func (t *core) moveLine(i int, old, ls []line, k int, hashes *[slotsPerLine]uint64) error {
	from := &old[k]
	for slot, h := range hashes {
		at := from.slots[slot].Load()
		if at == 0 {
			continue
		}
		to, free, ok := room(ls, h)
		if !ok {
			return corrupt("an array has more entries than its partition counts")
		}
		passed(ls, h, to, func(l *line) { ordered.Store64(&l.tags, raised(l.tags.Load())) })
		l := &ls[to]
		ordered.Store64(&l.slots[free], at)
		failpoint.Hit("dshash/move/linked")
		ordered.Store64(&l.tags, withTag(l.tags.Load(), free, tagOf(h)))
		failpoint.Hit("dshash/move/tagged")
		if t.ends.Ended() { // or others might find the entry in neither array; a repair ends the move
			t.parts[i].dirty.Store(1)
			return errClosed
		}
		ordered.Store64(&from.slots[slot], 0)
		failpoint.Hit("dshash/move/unlinked")
		passed(old, h, k, func(l *line) { ordered.Store64(&l.tags, lowered(l.tags.Load())) })
	}
	ordered.Store64(&from.tags, from.tags.Load()&^(overflowUnit-1))
	failpoint.Hit("dshash/move/line")
	return nil
}

// discard frees the array that is retired. If that is not possible now, a later step does it.
func (t *core) discard(i int) error {
	p := &t.parts[i]
	if err := t.free(t.local[i].next); err != nil {
		return err
	}
	failpoint.Hit("dshash/resize/freed")
	ordered.Store64(&p.progress, 0)
	p.arranged()
	return nil
}
