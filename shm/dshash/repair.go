package dshash

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// The repair of a partition whose lock's holder died, met a fault or found something garbled.
//
// A repair assumes nothing about where the last holder stopped, and needs no log: the slots say which entries there
// are, and all else is computed from them. A pointer that leads to no item of the partition is cleared, and counted
// as lost. What a repair does not find: an item that no slot leads to any more, after a stray store has hit the slot.
// It stays allocated until the area ends.
//
// The functions run with the partition's lock held exclusively, while readers without the lock may look at any word:
// those stores that they must not misunderstand come after the version has gone up and rebuilds is odd.

// repairPart brings partition i in order. The caller holds its lock exclusively, and has found it marked as dirty. It
// waits for the area's lock and the reserve's, until ctx is over. It can itself be cut short anywhere, by a death or
// an error: each step is harmless twice, and the mark is taken away last.
func (t *core) repairPart(ctx context.Context, i int) error {
	p := &t.parts[i]
	// First the area takes back what dead sessions had in their hands. After that an object in one of this
	// partition's hands is the partition's for certain, and no recovery of the area frees it as well.
	if _, err := t.area.Recover(ctx); err != nil {
		return err
	}
	failpoint.Hit("dshash/repair/recovered")
	// Taking the reserve's lock finishes what the dead holder may have been writing in place. So every item is whole
	// from here on.
	g, err := t.lockReserve(ctx, forever)
	if err != nil {
		return err
	}
	t.unlockReserve(g)
	failpoint.Hit("dshash/repair/redone")
	// Readers without the lock that are under way must look again: the version may be odd, and slots are about to be
	// cleared.
	p.raiseVersion()
	// Every process looks at the arrays again, and takes the lock for that until arranged.
	p.beginRebuild()
	arrays, err := t.repairArrays(i)
	if err != nil {
		return err
	}
	failpoint.Hit("dshash/repair/counted")
	longest, err := t.longestIn(arrays[:]...)
	if err != nil {
		return err
	}
	if t.ends.Ended() {
		return errClosed
	}
	p.longest.Store(longest)
	p.endRebuild()
	for k := range t.local[i].hands {
		// What a slot leads to, and what is an array, stays; the hand only lets it go. All else that the hand has is
		// freed. So an object is freed once at most, and an entry never.
		hand := t.local[i].hands[k]
		if at := hand.Pointer(); at != 0 && t.isLinked(p, arrays, at) {
			hand.Clear()
		}
		failpoint.Hit("dshash/repair/hand")
		if err := t.emptyHand(i, k); err != nil {
			return err
		}
	}
	// An array that is to come, or is retired, is not needed: mend has cleared next if it is one of the two others.
	if err := t.freePlace(t.local[i].next); err != nil {
		return err
	}
	// The dead holder may have been about to do so.
	t.spared.loose.Store(1)
	t.shrinkReserve()
	failpoint.Hit("dshash/repair/done")
	// What was mended may be private pages; the mark stays for the next holder.
	if t.ends.Ended() {
		return errClosed
	}
	p.dirty.Store(0)
	return nil
}

// isLinked reports whether an object is an array of partition p, or a slot of one of the arrays leads to it.
func (t *core) isLinked(p *partition, arrays [2][]line, at dsa.Pointer) bool {
	return p.array.Load() == uint64(at) || p.old.Load() == uint64(at) || linesLeadTo(arrays[0], at) || linesLeadTo(arrays[1], at)
}

// repairArrays brings array, old and next in order, and computes tags, overflow, count and progress anew. It returns the
// lines of array and old. Slots that lead to no entry of partition i are cleared, and counted as lost; so are the
// entries of an array that is none, as many as the count tells of.
func (t *core) repairArrays(i int) (arrays [2][]line, err error) {
	p := &t.parts[i]
	// A change of arrays was cut short when the array had become old, and before the new one took its place. Or there
	// is neither.
	if old := p.old.Load(); old == p.array.Load() {
		p.old.Store(0)
	}
	// The same a store later, when next had become the array; or the old array was being retired, and is still the
	// old one.
	if next := p.next.Load(); next == p.array.Load() || next == p.old.Load() {
		p.next.Store(0)
	}
	failpoint.Hit("dshash/repair/arrays")
	var gone [2]bool
	for k, w := range []*atomic.Uint64{&p.array, &p.old} {
		arrays[k], err = t.strictLines(dsa.Pointer(w.Load()))
		// What was read may be private pages, which look like arrays that are none.
		if t.ends.Ended() {
			return arrays, errClosed
		}
		// A stray store has hit the word, or the array's number of lines. What the array led to is lost.
		if errors.Is(err, ErrCorrupt) {
			gone[k], err = true, nil
		}
		if err != nil {
			return arrays, err
		}
	}
	if gone[1] {
		p.old.Store(0)
	}
	// The array was lost, and the old one, if there is one, becomes the array. That is one store, since a reader without
	// the lock takes an array of 0 for a partition without entries. A process that dies after it leaves the same pointer
	// in both words, which the beginning of mend puts right.
	if gone[0] || p.array.Load() == 0 {
		p.array.Store(p.old.Load())
		p.old.Store(0)
		arrays[0], arrays[1] = arrays[1], nil
	}
	lost := p.lost.Load()
	n, _, err := t.repairLines(i, arrays[0], nil)
	if err != nil {
		return arrays, err
	}
	more, first, err := t.repairLines(i, arrays[1], arrays[0])
	if err != nil {
		return arrays, err
	}
	n += more
	// The count may be wrong by one after a death; the slots that were cleared one by one are counted already. So
	// only what a lost array had is added.
	if missing := p.count.Load() - n - (p.lost.Load() - lost); gone != [2]bool{} && int64(missing) > 0 {
		p.lost.Add(missing)
	}
	if t.ends.Ended() {
		return arrays, errClosed
	}
	p.progress.Store(first)
	p.count.Store(n)
	return arrays, nil
}

// repairLines mends the lines of one array: it clears slots that lead to no entry of partition i, and stores tags and
// overflow as the slots need them. An entry that is in other too, the array to which it was moving, is cleared here.
// It returns the number of entries, and of empty lines at the front, which is the progress of an array that is old.
// It may attach segments; another error than ErrCorrupt ends it.
func (t *core) repairLines(i int, ls, other []line) (n, empty uint64, err error) {
	tags := make([]uint64, len(ls))
	empty = uint64(len(ls))
	for k := range ls {
		for slot := range ls[k].slots {
			at := dsa.Pointer(ls[k].slots[slot].Load())
			if at == 0 {
				continue
			}
			h, key, err := t.strictItem(i, at)
			// What was read may be private pages: no reason to clear a slot.
			if t.ends.Ended() {
				return n, empty, errClosed
			}
			// The pointer leads to no object, to one without room for an item, or to another partition's item.
			if errors.Is(err, ErrCorrupt) {
				ls[k].slots[slot].Store(0)
				t.parts[i].lost.Add(1)
				continue
			}
			if err != nil {
				return 0, 0, err
			}
			// A move was cut short between its two stores. The entry is in the array, and its old slot is cleared, as
			// the move would have done.
			if _, _, there, _, ok := t.searchLines(other, h, key); ok && there == at {
				ls[k].slots[slot].Store(0)
				continue
			}
			n++
			empty = min(empty, uint64(k))
			tags[k] = withTag(tags[k], slot, tagOf(h))
			for j := homeOf(h, len(ls)); j != k; j = (j + 1) % len(ls) {
				tags[j] = raisedOverflow(tags[j])
			}
		}
	}
	for k := range ls {
		ls[k].tags.Store(tags[k])
	}
	return n, empty, nil
}

// raisedOverflow returns a line's tags with one more in overflow, unless that is full.
func raisedOverflow(tags uint64) uint64 {
	if overflowOf(tags) == overflowFull {
		return tags
	}
	return tags + overflowUnit
}

// loweredOverflow returns a line's tags with one less in overflow, unless that is full, which means that the number is
// not known, or 0, which takes a stray store.
func loweredOverflow(tags uint64) uint64 {
	if n := overflowOf(tags); n == overflowFull || n == 0 {
		return tags
	}
	return tags - overflowUnit
}

// strictLines returns the lines of the array at that pointer, after asking the allocator whether there is an object
// of the right length; none if the pointer is 0. It may attach a segment. Anything but an array is ErrCorrupt.
func (t *core) strictLines(at dsa.Pointer) ([]line, error) {
	if at == 0 {
		return nil, nil
	}
	b, err := t.checkedObject(at)
	if err != nil {
		return nil, err
	}
	// This refuses an object that is too short for the number of lines and a line.
	if len(b) < arraySize(1) {
		return nil, corrupt("the array at %v has %d bytes", at, len(b))
	}
	n := wordAt(b).Load()
	// The number of lines must be that for which the object was made. A larger one would lead past the object's end,
	// a smaller one would lose entries.
	if n < 1 || n > maxLines || len(b) != arraySize(int(n)) {
		return nil, corrupt("the array at %v has %d lines in %d bytes", at, n, len(b))
	}
	return linesOf(b[linesOffset(at):], n), nil
}

// strictItem returns hash and key of the item at that pointer, after asking the allocator for the object's length. An
// object without room for the item, or an item whose key belongs to another partition than i, is ErrCorrupt. It may
// attach a segment.
func (t *core) strictItem(i int, at dsa.Pointer) (h uint64, key []byte, err error) {
	b, err := t.checkedObject(at)
	if err != nil {
		return 0, nil, err
	}
	key, _, end, ok := t.splitItem(b)
	if !ok || end > len(b) {
		return 0, nil, corrupt("the item at %v has %d bytes, which does not fit what it says", at, len(b))
	}
	if h = hashOf(key, t.seed); t.partOf(h) != i {
		return 0, nil, corrupt("the item at %v is of partition %d, and was found in %d", at, t.partOf(h), i)
	}
	return h, key, nil
}

// checkedObject returns the bytes of the object at that pointer, as dsa.Area.Bytes does; but a pointer to no object is
// ErrCorrupt, since it was found in shared memory, and not given by a caller.
func (t *core) checkedObject(at dsa.Pointer) ([]byte, error) {
	b, err := t.area.Bytes(at)
	if errors.Is(err, dsa.ErrPointer) {
		err = corrupt("a slot leads nowhere: %v", err)
	}
	return b, err
}

// linesLeadTo reports whether a slot of the lines leads to the object at that pointer.
func linesLeadTo(ls []line, at dsa.Pointer) bool {
	for k := range ls {
		for slot := range ls[k].slots {
			if ls[k].slots[slot].Load() == uint64(at) {
				return true
			}
		}
	}
	return false
}
