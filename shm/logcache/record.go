package logcache

import (
	"hash/crc32"
)

// A record is in an extent at a multiple of 8: a word of lengths, a word of expiry and checksum, key, value. Once a slot
// names it, it does not change until its extent's life is over.
//
//	first word   bits 0-31 length of the value, 32-47 of the key, 48-55 kind, 56-63 zero
//	second word  bits 0-31 when the entry expires, 0 never; 32-63 checksum
type record struct {
	kind    uint8
	expires uint32
	sum     uint32
	key     []byte
	value   []byte
}

// Kinds of records.
const (
	kindValue = iota
	kindHead  // of a value that is cut into pieces: its value is the pieces' number and the whole length
	kindPiece // its key is the pieces' number and its own
)

const recordHeader = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize is that of a record with its header, rounded up.
func recordSize(key, value int) int { return (recordHeader + key + value + 7) &^ 7 }

func (r *record) size() int { return recordSize(len(r.key), len(r.value)) }

// keyKind is the kind of the keys among which a record's is: heads and values have the same.
func keyKind(kind uint8) uint8 {
	if kind == kindHead {
		return kindValue
	}
	return kind
}

// parse finds the record at off in the first end bytes of an extent. It is false if there can be none.
func parse(extent []byte, off, end int) (r record, ok bool) {
	if off < 0 || off&7 != 0 || end > len(extent) || off+recordHeader > end {
		return r, false
	}
	first, second := wordAt(extent, off).Load(), wordAt(extent, off+8).Load()
	n, k := first&(1<<32-1), int(first>>32&(1<<16-1))
	from := off + recordHeader
	if first>>48 > kindPiece || n > uint64(end-from) || k > end-from-int(n) {
		return r, false
	}
	r.kind, r.expires, r.sum = uint8(first>>48), uint32(second), uint32(second>>32)
	r.key, r.value = extent[from:from+k:from+k], extent[from+k:from+k+int(n):from+k+int(n)]
	return r, true
}

// write puts the record at off, where it fits.
func (r *record) write(extent []byte, off int, place uint32) {
	first, second := r.words(place)
	wordAt(extent, off).Store(first)
	wordAt(extent, off+8).Store(second)
	b := extent[off+recordHeader:]
	copy(b, r.key)
	copy(b[len(r.key):], r.value)
}

func (r *record) words(place uint32) (first, second uint64) {
	return uint64(len(r.value)) | uint64(len(r.key))<<32 | uint64(r.kind)<<48,
		uint64(r.expires) | uint64(r.checksum()^place)<<32
}

// checksum is of all that the record says.
func (r *record) checksum() uint32 {
	said := mix(uint64(len(r.value))|uint64(len(r.key))<<32|uint64(r.kind)<<48, uint64(r.expires)^odd2)
	return crc32.Update(crc32.Update(uint32(said), castagnoli, r.key), castagnoli, r.value)
}

// whole reports whether the checksum is that of a record in this place.
func (r *record) whole(place uint32) bool { return r.sum == r.checksum()^place }

// place is what the checksum of a record is mixed with, so that an image of a record elsewhere, say in a value, is none.
// Number is that of the extent in its log.
func (c *Cache) place(extent uint32, number uint64, off int) uint32 {
	return uint32(mix(c.seed^number<<20^uint64(off), odd1^uint64(extent)))
}
