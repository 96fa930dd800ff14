package dshash

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// The hands of a partition, and the items that wait there for the next insertion.
//
// A hand owns its object: a repair frees that if nothing in the arrays leads to it. While no session holds the
// partition's lock, at most one hand has an object: an item that was taken out, and is kept so that the next to come
// in need not ask the allocator. All functions of this file run with the partition's lock held exclusively by their
// caller. A process that dies in any of them leaves the objects in the hands, in a slot or with the allocator, and
// the repair of the partition puts them in order.

// spare is what this process remembers of an item that it left in a hand, so that it need not ask the allocator what
// the object is. It is right as long as the partition's version is the same: that goes up whenever a hand's object is
// freed, or an entry's item comes into a hand.
type spare struct {
	// at is what the hand had.
	at dsa.Pointer
	// version is the partition's at that time.
	version uint64
	// size is the item's length in bytes, which is the object's.
	size int
}

// emptyHand frees the object in hand k of partition i, if there is one, and raises the version, so that no spare counts
// any more. If a lock of the area is not free in time the hand keeps its object, and the error says so; a pointer
// that leads to no object is forgotten.
func (t *core) emptyHand(i, k int) error {
	hand := t.local[i].hands[k]
	if hand.Pointer() == 0 {
		return nil
	}
	err := t.freePlace(hand)
	t.parts[i].raiseVersion()
	return err
}

// emptyHands empties both hands of partition i, until one fails.
func (t *core) emptyHands(i int) error {
	if err := t.emptyHand(i, 0); err != nil {
		return err
	}
	return t.emptyHand(i, 1)
}

// spareSize is the length in bytes up to which an item that was taken out stays in its hand. A longer one is freed at
// once, so that a partition keeps little memory that other sizes could use.
const spareSize = 1024

// keepOrFreeHand decides what becomes of the item in hand k, which was taken out of its slot, or never came into one:
// it stays for the next insertion if it is short and the other hand is empty, and is freed otherwise. If it can't be
// freed now it stays too, until a call needs the hand. The caller has raised the version, so no reader is in the item
// any more when its memory is used again. In a partition with long items it also looks how long the reserve has to be.
func (t *core) keepOrFreeHand(i, k int) {
	l, n := &t.local[i], 0
	long := t.parts[i].longest.Load() != 0
	if long {
		if b, err := t.checkedObject(l.hands[k].Pointer()); err == nil {
			n = len(b)
		}
	}
	if l.hands[1-k].Pointer() != 0 || !t.keepHand(i, k) {
		_ = t.emptyHand(i, k)
	}
	if long {
		t.lowerLongest(i, n)
	}
}

// keepHand notes the item in hand k as the spare, if it is short enough, and reports whether it is.
func (t *core) keepHand(i, k int) bool {
	l := &t.local[i]
	at := l.hands[k].Pointer()
	if t.kind == kindFixed && t.size <= spareSize {
		l.spare = spare{at, t.parts[i].version.Load(), t.size}
		return true
	}
	if b, err := t.bytesAt(at); err == nil {
		if _, _, size, ok := t.splitItem(b); ok && size <= spareSize {
			l.spare = spare{at, t.parts[i].version.Load(), size}
			return true
		}
	}
	return false
}

// spareObject returns the object at, which is in a hand of partition i, if it has exactly n bytes; otherwise nil. It
// trusts the spare and, without one, asks the allocator for the object's length.
func (t *core) spareObject(i int, at dsa.Pointer, n int) []byte {
	if t.local[i].spare == (spare{at, t.parts[i].version.Load(), n}) {
		if b := t.area.Peek(at); len(b) >= n {
			return b[:n:n]
		}
	}
	if b, err := t.area.Bytes(at); err == nil && len(b) == n {
		return b
	}
	return nil
}

// fillHand puts an object of n bytes, with any contents, into a hand and empties the other one. It returns the hand's
// number, the object and its bytes. The caller links p, not what the hand reads later: so a stray store in the hand
// leads no reader astray. It uses the object that a hand has already if that has the right length; otherwise
// it allocates, and the error is dsa's: no memory, or a lock of the area that was not free in time. Whatever it
// returns, no object is lost.
func (t *core) fillHand(i, n int) (k int, p dsa.Pointer, b []byte, err error) {
	hands := &t.local[i].hands
	k = -1
	for j := range hands {
		at := hands[j].Pointer()
		if at == 0 {
			continue
		}
		if k < 0 {
			if b = t.spareObject(i, at, n); b != nil {
				k, p = j, at
				continue
			}
		}
		if err := t.emptyHand(i, j); err != nil {
			return 0, 0, nil, err
		}
	}
	if k < 0 {
		k = 0
		if p, b, err = t.area.AllocBytesInto(n, hands[0]); err != nil {
			return 0, 0, nil, err
		}
		failpoint.Hit("dshash/fetch/allocated")
	}
	return k, p, b, nil
}
