package dshash

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/dsa"
)

// An item is the object of an entry. In a Table it is the key and, aligned behind it, the value. In a Bytes it is the
// two lengths as words of 32 bits, the key, the value.
//
// While an item is linked its key never changes. Its value changes in two ways only: by one store if it is a cell
// (see storedAtOnce), or in place while the partition's version is odd (see reserve.go). In the second case the item may
// become shorter than its object. What is read of an item without the partition's lock may be anything: the functions
// of this file keep every access inside the bytes that they are given, and leave it to their callers whether that is
// an item at all.

// lengths is how many bytes an item of byte strings has before its key: the lengths of key and value.
const lengths = 8

// itemSize returns the length in bytes of an item with that key and a value of n bytes; n does not count in a Table.
// A length that a word of 32 bits can't hold, a negative one, or one that this processor can't address, is ErrSize.
func (t *core) itemSize(key []byte, n int) (int, error) {
	if t.kind == kindFixed {
		return t.size, nil
	}
	if n < 0 || uint64(len(key)) > math.MaxUint32 || uint64(n) > math.MaxUint32 || len(key) > math.MaxInt-lengths-n {
		return 0, errkind.As(ErrSize,
			fmt.Errorf("dshash: a key of %d bytes and a value of %d: neither can have more than %d",
				len(key), n, uint32(math.MaxUint32)))
	}
	return lengths + len(key) + n, nil
}

// formatItem writes lengths and key into a new item, and returns the bytes of its value, whose contents are whatever the
// memory had. The item's length is the one that itemSize returned, and no other process reads the item yet.
func (t *core) formatItem(item, key []byte) (value []byte) {
	if t.kind == kindFixed {
		assign(item, key)
		return item[t.valueAt:]
	}
	l := lengthsAt(item)
	l[0].Store(uint32(len(key)))
	l[1].Store(uint32(len(item) - lengths - len(key)))
	copy(item[lengths:], key)
	return item[lengths+len(key):]
}

// keyOf returns the key in the bytes that an item begins, and reports whether there is room for it there.
func (t *core) keyOf(b []byte) (key []byte, ok bool) {
	if t.kind == kindFixed && len(b) >= t.size {
		return b[:t.keySize], true
	}
	key, _, _, ok = t.splitItem(b)
	return key, ok
}

// splitItem returns the key, and the offsets of the value, in the bytes that an item begins, and reports whether the
// item is inside those bytes. Of memory that has been freed and used for something else it makes anything, but nothing
// outside b.
func (t *core) splitItem(b []byte) (key []byte, from, to int, ok bool) {
	if t.kind == kindFixed {
		// This refuses a pointer to the end of a segment, where a whole item does not fit.
		if len(b) < t.size {
			return nil, 0, 0, false
		}
		return b[:t.keySize], t.valueAt, t.size, true
	}
	// This refuses the same for the lengths,
	if len(b) < lengths {
		return nil, 0, 0, false
	}
	l := lengthsAt(b)
	k, v := uint64(l[0].Load()), uint64(l[1].Load())
	// and this refuses lengths that reach beyond the segment. Each of them was loaded once, and is below 1<<32: so
	// the sum does not overflow, and another process that changes them now changes nothing here.
	if k+v > uint64(len(b)-lengths) {
		return nil, 0, 0, false
	}
	from = lengths + int(k)
	return b[lengths:from], from, from + int(v), true
}

// assign copies from to the beginning of to, which is long enough. Words, which most keys and many values are, it
// copies without a call.
func assign(to, from []byte) {
	if len(from) == 8 && len(to) >= 8 {
		binary.NativeEndian.PutUint64(to, binary.NativeEndian.Uint64(from))
		return
	}
	if len(from) > 4 {
		copy(to, from)
		return
	}
	assignSmall(to, from)
}

// assignSmall copies a value of at most 4 bytes. One of 2 or 4 bytes it copies by one instruction, since the value
// may be a cell that another process stores to at the same time.
func assignSmall(to, from []byte) {
	switch {
	case len(from) == 4 && len(to) >= 4:
		binary.NativeEndian.PutUint32(to, binary.NativeEndian.Uint32(from))
	case len(from) == 2 && len(to) >= 2:
		binary.NativeEndian.PutUint16(to, binary.NativeEndian.Uint16(from))
	default:
		copy(to, from)
	}
}

// bytesAt returns the bytes from p, which a slot or an array's word leads to, at least to the end of the object. It may
// attach the segment, which takes long; so it is for callers that hold the partition's lock. A pointer that leads to
// no object is ErrCorrupt if its segment was not mapped before; otherwise the caller finds out.
func (t *core) bytesAt(p dsa.Pointer) (b []byte, err error) {
	if b = t.area.Peek(p); b == nil {
		if b, err = t.checkedObject(p); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// peekAt returns what at returns, if the segment is mapped already; else nothing, and no error. It never waits.
func (t *core) peekAt(p dsa.Pointer) ([]byte, error) { return t.area.Peek(p), nil }

// storedAtOnce reports whether a value of size bytes at offset at of an item is read and written by one instruction:
// it is a word of 1, 2, 4 or 8 bytes at a multiple of its size, no longer than a register, or it has no bytes at all.
// Other readers see such a value before a store or after it, never half of it.
func storedAtOnce(size, at int) bool {
	switch size {
	case 0:
		return true
	case 1, 2, 4, 8:
		return at%size == 0 && size <= bits.UintSize/8
	}
	return false
}

// copyWholeItem does what copyForUpdate does for a linked item of fixed size, of which the whole is copied. A cell
// needs no memory of the area: its copy is an image, which commit stores by one instruction.
func (e *entry) copyWholeItem() ([]byte, error) {
	t, c := e.l.t, &e.l.change
	if c.hand == none {
		// This refuses a slot's pointer to the end of a segment, where an item does not fit.
		if len(c.item) < t.size {
			return nil, corrupt("the item at %v is longer than its segment", e.ptr)
		}
		var err error
		hand, at, item := none, dsa.Pointer(0), []byte(nil)
		if !t.cell {
			hand, at, item, err = t.fillHand(e.l.i, t.size)
		}
		switch {
		case t.cell || isShortage(err):
			item, hand = c.newImage(t.size), image
		case err != nil:
			return nil, err
		}
		copy(item, c.item)
		c.hand, c.at, c.item = hand, at, item
	}
	return c.item[t.valueAt:t.size], nil
}
