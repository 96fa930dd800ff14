package dshash

import (
	"bytes"
	"encoding/binary"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// The search of an entry, and of a free slot, in an array.
//
// The functions of this file read slots and tags that other processes may be storing at that moment, unless the
// caller holds the partition's lock. They promise that no value there leads them outside the lines, outside mapped
// segments, or into an endless loop. They do not promise that what they find is right: without the lock the caller
// validates the partition's version.

// searchLines returns where an entry is: line i, slot, the pointer p of its item, and in b the bytes from there to the
// end of its segment. P is 0 if there is none. It does not attach segments: ok is false, and p the pointer, if one
// leads to what is not mapped here or is too near to a segment's end to be an item. It never waits, and takes no lock.
func (t *core) searchLines(ls []line, h uint64, key []byte) (i, slot int, p dsa.Pointer, b []byte, ok bool) {
	if t.word {
		return t.searchWord(ls, h, binary.NativeEndian.Uint64(key))
	}
	// With no lines there is no home, and the loop below is not entered.
	i = homeOf(h, len(ls))
	tag := tagOf(h)
	// At most once around: overflow that is not 0 in every line ends the search as well.
	for range ls {
		l := &ls[i]
		tags := l.tags.Load()
		for m := matchTag(tags, tag); m != 0; m &= m - 1 {
			slot = lowestSlot(m)
			// A tag without a pointer is that of an entry which is being inserted or deleted at this moment.
			if p = dsa.Pointer(l.slots[slot].Load()); p == 0 {
				continue
			}
			// Peek refuses pointers to other segments and to places outside of them; then b is nil, and the length
			// checks refuse it.
			b = t.area.Peek(p)
			// Keys of one size are compared here: a call takes as long as the comparison.
			if t.kind == kindFixed && len(b) >= t.size {
				if bytes.Equal(b[:t.keySize], key) {
					return i, slot, p, b, true
				}
				continue
			}
			k, ok := t.keyOf(b)
			if !ok || bytes.Equal(k, key) {
				return i, slot, p, b, ok
			}
		}
		// No entry that has its home in this line, or before it, lies further on.
		if overflowOf(tags) == 0 {
			break
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return 0, 0, 0, nil, true
}

// searchWord does what searchLines does, for a table whose keys are words of 8 bytes, and keeps the same promises. It does
// nothing else, so that what it needs stays in registers: it is the greater part of a lookup.
func (t *core) searchWord(ls []line, h, key uint64) (i, slot int, p dsa.Pointer, b []byte, ok bool) {
	i = homeOf(h, len(ls))
	tag := tagOf(h)
	for range ls {
		l := &ls[i]
		tags := l.tags.Load()
		for m := matchTag(tags, tag); m != 0; m &= m - 1 {
			slot = lowestSlot(m)
			if p = dsa.Pointer(l.slots[slot].Load()); p == 0 {
				continue
			}
			if b = t.area.Peek(p); len(b) < t.size {
				return i, slot, p, b, false
			}
			if binary.NativeEndian.Uint64(b) == key {
				return i, slot, p, b, true
			}
		}
		if overflowOf(tags) == 0 {
			break
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return 0, 0, 0, nil, true
}

// searchMapped goes on from a search that came upon a pointer to what is not mapped: at. The caller holds the
// partition's lock, shared or exclusive. Each round attaches the segment of one more pointer, and searches from the
// beginning. A pointer that leads nowhere, or to a place where no item can be, is ErrCorrupt, so the caller has the
// partition repaired.
func (t *core) searchMapped(
	ls []line, h uint64, key []byte, at dsa.Pointer,
) (i, slot int, p dsa.Pointer, b []byte, err error) {
	for range maxLooks {
		if b, err = t.bytesAt(at); err != nil {
			return 0, 0, at, nil, err
		}
		// The object is mapped now. If an item has no room there, another search would come to the same end.
		if _, ok := t.keyOf(b); !ok {
			return 0, 0, at, nil, corrupt("the item at %v is longer than its segment", at)
		}
		last, ok := at, false
		if i, slot, p, b, ok = t.searchLines(ls, h, key); ok {
			return i, slot, p, b, nil
		}
		// The same pointer twice: attaching its segment did not help.
		if at = p; at == last {
			return i, slot, p, nil, corrupt("the item at %v is longer than its segment", p)
		}
	}
	return 0, 0, at, nil, corrupt("what the array's slots lead to changes under the lock")
}

// searchBoth looks in both arrays without the lock, while entries move from the old one to the new one. It looks in
// the old one first: an entry that moves is linked in the new array before it is taken out of the old one, so this
// order finds it whatever happens in between. In the other order it could be missed in both.
func (t *core) searchBoth(v *view, h uint64, key []byte) (at dsa.Pointer, b []byte, ok bool) {
	if _, _, at, b, ok = t.searchLines(v.busy.old, h, key); at != 0 || !ok {
		return at, b, ok
	}
	failpoint.Hit("dshash/look/between")
	_, _, at, b, ok = t.searchLines(v.lines, h, key)
	return at, b, ok
}

// maxLooks is how often a search begins again, at most. Under the lock no slot changes, so each round attaches
// another segment, and an area has fewer than this. A program that stores to slots without the lock could keep a
// search going forever otherwise.
const maxLooks = 1000

// freeSlot returns the first free slot for an entry with hash h, from its home on, and reports whether there is one. A
// slot is free if both its tag and its pointer are 0: one without the other is what a dead session or a stray store
// has left, and repair's. The caller holds the partition's lock exclusively.
func freeSlot(ls []line, h uint64) (i, slot int, ok bool) {
	i = 0
	if len(ls) > 0 {
		i = homeOf(h, len(ls))
	}
	for range ls {
		for m := matchTag(ls[i].tags.Load(), 0); m != 0; m &= m - 1 {
			if slot = lowestSlot(m); ls[i].slots[slot].Load() == 0 {
				return i, slot, true
			}
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return 0, 0, false
}

// eachPassedLine calls f for each line from the home of hash h to the one before own, which is a line of ls. These are
// the lines whose overflow counts an entry in own.
func eachPassedLine(ls []line, h uint64, own int, f func(l *line)) {
	for i := homeOf(h, len(ls)); i != own; {
		f(&ls[i])
		if i++; i == len(ls) {
			i = 0
		}
	}
}
