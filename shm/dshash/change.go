package dshash

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// Changes of an entry that is held exclusively: a copy of its item is made in a hand, and commit makes the copy what
// the table has.
//
// Each order of stores in this file is one after which a process may die. What it leaves is in the table of the
// package comment; the comments here say why the order is that one. The repair needs no record of what was under way:
// the slots decide, and a hand that has what a slot leads to is cleared, all others are emptied.
//
// A change becomes visible to Get when its slot is stored, and to other holders when the lock is given back. Nothing
// is promised of two changes, not even in one partition.

// change is what the holder of an exclusive entry knows of it besides the entry itself. It is in local, since a
// partition has one exclusive holder at a time, and belongs to that holder.
type change struct {
	// item is what the holder sees: the linked item; or the copy that is to be linked; or what a failed update left
	// of a copy.
	item []byte
	// at is the object of the copy, if a hand has it.
	at dsa.Pointer
	// hand is the number of the hand that has the copy; or none, or image.
	hand int
	// h is the hash of the key.
	h uint64
	// ls is the array that has the entry, or into which it would go.
	ls []line
	// line and slot are where in ls the entry is, or will be once makeRoom has found a place.
	line int
	slot int
	// dropped is the length of the longest copy that was made and replaced by another; 0 if none was.
	dropped int
	// busy is true if the arrays are being changed: then the call makes a step of that in the end.
	busy bool
	// own is memory of this process for a copy. It is kept for the next one.
	own []byte
}

const (
	// none means that there is no copy.
	none = -1
	// image means that the copy is in own, and that commit writes it over the linked item.
	image = -2
)

// begin notes the entry that a caller has found, of which there is no copy yet. It keeps own.
func (c *change) begin(h uint64, ls []line, item []byte, line, slot int, busy bool) {
	c.h, c.ls, c.item, c.line, c.slot, c.hand, c.dropped, c.busy = h, ls, item, line, slot, none, 0, busy
}

// newImage makes n bytes of this process's memory the copy, with any contents, and returns them. It gives back a long
// buffer of which less than half is needed.
func (c *change) newImage(n int) []byte {
	if cap(c.own) < n || cap(c.own) > spareSize && cap(c.own) > 2*n {
		c.own = cloneAligned(make([]byte, n))
	}
	c.hand = image
	return c.own[:n]
}

// prepare puts an item with that key and a value of n bytes into a hand, to be linked by commit, and returns the
// bytes of the value, which have any contents. It ensures that there is a slot for the item, and that the reserve has
// room for a later change of it without memory. It waits for the reserve's lock, until ctx is over, and for the
// area's locks, and may allocate. If it fails the entry is as it was; arrays and hands may have changed.
func (e *entry) prepare(ctx context.Context, key []byte, n int) (value []byte, err error) {
	t, c := e.l.t, &e.l.change
	size, err := t.size, error(nil) // of a fixed size there is nothing to ask for
	if t.kind != kindFixed {
		if size, err = t.itemSize(key, n); err != nil {
			return nil, err
		}
	}
	// The reserve comes before the item: an item that is linked without room in the reserve could not be changed when
	// there is no memory. The comparison is with what this process knows, so most calls take no lock for it.
	if int64(size) > t.spared.bytes.Load() {
		if err := t.ensureReserve(ctx, e.l.i, size); err != nil {
			return nil, err
		}
	}
	if e.ptr == 0 {
		// Most arrays have room, and then the first free slot is the entry's. MakeRoom does the same after it has made
		// the array larger, or finished what another call has begun.
		free := false
		if !t.crowded(e.l.i, len(c.ls)) {
			c.line, c.slot, free = freeSlot(c.ls, c.h)
		}
		if !free {
			if err := e.makeRoom(); err != nil {
				t.lowerLongest(e.l.i, size)
				return nil, err
			}
		}
	}
	// From here on the hand owns the item. A process that dies leaves it there, and the partition's repair frees it.
	hand, at, item, err := t.fillHand(e.l.i, size)
	if err != nil {
		t.lowerLongest(e.l.i, size)
		return nil, err
	}
	c.hand, c.at, c.item = hand, at, item
	return t.formatItem(item, key), nil
}

// commit makes the copy, if there is one, what the table has: by one store of the slot, or in place. The caller holds
// the partition's lock exclusively, gives it back next, and has found that the area had not ended when the copy was
// whole. It does not fail: it has what it needs since prepare, and what it can't free now stays in a hand.
func (e *entry) commit() {
	if !e.guard.Exclusive() || e.l.change.hand == none {
		return
	}
	if e.l.change.hand == image {
		e.commitImage()
		return
	}
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	copied := c.at
	if e.ptr == 0 {
		l := &c.ls[c.line]
		// Overflow goes up first, in each line from the entry's home to the one before its own: a lookup goes on
		// beyond a line only if that says so. Once the slot is stored every lookup must find the entry, so the way
		// there is laid before. A process that dies here leaves numbers that are too high, which costs lookups time
		// until the repair.
		eachPassedLine(c.ls, c.h, c.line, func(l *line) { ordered.Store64(&l.tags, raisedOverflow(l.tags.Load())) })
		failpoint.Hit("dshash/insert/passed")
		// This store makes the entry part of the table. The item is whole: stores become visible in their order.
		// After a death here the hand has the item too; the repair finds it linked, and clears the hand.
		ordered.Store64(&l.slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/insert/linked")
		// The tag is last of the three: a lookup that sees it finds the pointer. Until then a lookup without the lock
		// does not find the entry, as if it had come earlier.
		ordered.Store64(&l.tags, withTag(l.tags.Load(), c.slot, tagOf(c.h)))
		failpoint.Hit("dshash/insert/tagged")
		// Session.Close replaces the area's mapping by private pages of zeros. The store to the slot may have
		// come after that: then it changed the private page alone, other processes do not have the link, and the hand in
		// shared memory still owns the item. So the hand is not cleared here. The repair finds the item through it, and
		// either frees the item or, if the store did reach shared memory, clears the hand.
		if t.ends.Ended() {
			p.dirty.Store(1)
			return
		}
		// The item is the slot's alone from here on. A process that dies before the count goes up leaves one that is
		// too low, which the repair computes anew.
		hands[c.hand].Clear()
		failpoint.Hit("dshash/insert/handed")
		ordered.Store64(&p.count, p.count.Load()+1)
	} else {
		// The old item gets its hand before the slot forgets it, so it has a place in shared memory at every
		// instruction. A process that dies here leaves it both in the slot and in the hand: the repair clears that
		// hand and frees the copy in the other one.
		hands[1-c.hand].Set(e.ptr)
		failpoint.Hit("dshash/update/old")
		// This store is the change. A process that dies after it leaves the copy in slot and hand, and the old item
		// in its hand alone, which the repair frees.
		ordered.Store64(&c.ls[c.line].slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/update/linked")
		// As above: both hands keep what they have, and the repair finds out which of the two items is linked.
		if t.ends.Ended() {
			p.dirty.Store(1)
			return
		}
		hands[c.hand].Clear()
		failpoint.Hit("dshash/update/handed")
		// Readers may be in the old item, without a lock. The version goes up before settle lets its memory be used
		// for anything else, so none of them believes what it read after that.
		p.raiseVersion()
		t.keepOrFreeHand(e.l.i, 1-c.hand)
	}
	e.ptr, c.hand = copied, none
	if c.busy && !e.l.scan {
		t.stepOrShrink(e.l.i)
	}
}

// commitImage writes the copy, which is in this process's memory, over the linked item. It waits for the reserve's
// lock, if it needs that, as long as it takes: release has no context. If the item can't be written the entry is as
// before; release has no error in which to say so.
func (e *entry) commitImage() {
	t, c := e.l.t, &e.l.change
	image := c.item
	c.item, c.hand = t.area.Peek(e.ptr), none
	if t.cell {
		e.store(image[t.valueAt:t.size])
		return
	}
	var err error
	if _, from, to, ok := t.splitItem(image); ok {
		_, err = e.overwrite(context.Background(), image[from:to])
	}
	_ = t.dirtyIfCorrupt(e, err)
	if c.busy && !e.l.scan {
		t.stepOrShrink(e.l.i)
	}
}

// unlink takes the entry out of the table, or gives up one that was never linked. The caller holds the partition's
// lock exclusively. If a hand can't be emptied it fails, and nothing has changed. It asks for no memory. If the
// session ends while it runs its stores may be lost in part; the lock is a dead session's then, and the partition is
// repaired.
func (e *entry) unlink() error {
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	// The entry was never linked. Its item is in a hand already and stays there, for the next insertion.
	if e.ptr == 0 {
		if c.hand >= 0 {
			t.keepOrFreeHand(e.l.i, c.hand)
		}
		c.hand = none
		return nil
	}
	k := 0
	if hands[k].Pointer() != 0 {
		k = 1
	}
	// Both hands are empty but for the spare one, so there is seldom anything to free here.
	if hands[k].Pointer() != 0 {
		if err := t.emptyHand(e.l.i, k); err != nil {
			return err
		}
	}
	// The item gets its hand before the slot forgets it. A process that dies here leaves it in both: the repair
	// clears the hand, and the entry stays.
	hands[k].Set(e.ptr)
	failpoint.Hit("dshash/delete/old")
	l := &c.ls[c.line]
	// This store takes the entry out. A process that dies after it leaves the item to the hand, and the repair frees
	// it; tag, overflow and count are then too high, which costs lookups time, and the repair computes them anew.
	ordered.Store64(&l.slots[c.slot], 0)
	failpoint.Hit("dshash/delete/unlinked")
	ordered.Store64(&l.tags, withTag(l.tags.Load(), c.slot, 0))
	failpoint.Hit("dshash/delete/tagged")
	// Overflow goes down after the slot is empty: a lookup that ends early because of it misses nothing.
	eachPassedLine(c.ls, c.h, c.line, func(l *line) { ordered.Store64(&l.tags, loweredOverflow(l.tags.Load())) })
	failpoint.Hit("dshash/delete/passed")
	ordered.Store64(&p.count, p.count.Load()-1)
	// Readers may be in the item, without a lock. The version goes up before settle lets its memory be used for
	// anything else.
	p.raiseVersion()
	failpoint.Hit("dshash/delete/raised")
	t.keepOrFreeHand(e.l.i, k)
	if c.hand >= 0 {
		t.keepOrFreeHand(e.l.i, c.hand)
	}
	e.ptr, c.item, c.hand = 0, nil, none
	if !e.l.scan && (c.busy || t.sparse(e.l.i, len(c.ls))) {
		t.stepOrShrink(e.l.i)
	}
	return nil
}
