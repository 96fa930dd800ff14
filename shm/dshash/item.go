package dshash

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/dsa"
)

// An item is an entry's object: the key, and aligned behind it the value; or, of bytes, their lengths as two
// 32-bit words, key, value. While it is linked its key never changes, and its value if it is a cell, by one store, or in
// place, under an odd version of the partition. Then it may be shorter than its object.

const lengths = 8

// itemSize returns an item's with a key of so many bytes, and a value of n.
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

// format writes the key into a new item, and returns where its value goes, which has any content.
func (t *core) format(item, key []byte) (value []byte) {
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

// keyOf returns the key in the bytes that an item begins.
func (t *core) keyOf(b []byte) (key []byte, ok bool) {
	if t.kind == kindFixed && len(b) >= t.size {
		return b[:t.keySize], true
	}
	key, _, _, ok = t.split(b)
	return key, ok
}

// split finds the key, and the value's place, in the bytes that an item begins. Of memory that was reused
// meanwhile it makes anything, but nothing outside b.
func (t *core) split(b []byte) (key []byte, from, to int, ok bool) {
	if t.kind == kindFixed {
		if len(b) < t.size {
			return nil, 0, 0, false
		}
		return b[:t.keySize], t.valueAt, t.size, true
	}
	if len(b) < lengths {
		return nil, 0, 0, false
	}
	l := lengthsAt(b)
	k, v := uint64(l[0].Load()), uint64(l[1].Load())
	if k+v > uint64(len(b)-lengths) {
		return nil, 0, 0, false
	}
	from = lengths + int(k)
	return b[lengths:from], from, from + int(v), true
}

// assign is copy. Words, which most keys and many values are, it copies without a call.
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

// assignSmall copies a short value by one instruction, too, as others may store it meanwhile.
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

// at returns the bytes that begin at p, which is linked. Its segment is mapped if need be.
func (t *core) at(p dsa.Pointer) (b []byte, err error) {
	if b = t.area.Peek(p); b == nil {
		if b, err = t.object(p); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// peek is at for what is mapped already.
func (t *core) peek(p dsa.Pointer) ([]byte, error) { return t.area.Peek(p), nil }
