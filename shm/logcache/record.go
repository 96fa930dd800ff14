package logcache

import (
	"bytes"
	"hash/crc32"

	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// A record is in an extent at a multiple of 8: a word of lengths, a word of expiry and checksum, up to five more
// words, key, value. Once a slot names it, it does not change until its extent's life is over.
//
//	first word   bits 0-31 length of the value, 32-47 of the key, 48-55 kind, 56-58 number of tags, 59 timed, 60 absent
//	second word  bits 0-31 when the entry expires, 0 never; 32-63 checksum
//	if timed     bits 0-31 until when the entry is fresh, 32-63 how long it is after each use, 0 if that does not matter
//	each tag     bits 0-31 version, 32-63 place in the table of tags
type record struct {
	kind    uint8
	flags   uint8 // bits 56-63 of the first word
	expires uint32
	sum     uint32
	extra   []byte // the words between header and key
	key     []byte
	value   []byte
}

const (
	flagTags   = 7
	flagTimed  = 1 << 3
	flagAbsent = 1 << 4
	knownFlags = 1<<5 - 1
)

// Kinds of records.
const (
	kindValue = iota
	kindHead  // of a value that is cut into pieces: its value is the pieces' number and the whole length
	kindPiece // its key is the pieces' number and its own
)

const recordHeader = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize returns that of a record with its header, rounded up.
func recordSize(extra, key, value int) int { return (recordHeader + extra + key + value + 7) &^ 7 }

func (r *record) size() int { return recordSize(len(r.extra), len(r.key), len(r.value)) }

// extraOf returns how many bytes are between header and key of a record with these flags.
func extraOf(flags uint8) int { return int(flags&flagTags+flags>>3&1) * 8 }

// keyKind returns the kind of the keys among which a record's is: heads and values have the same.
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
	r.kind, r.flags, r.expires, r.sum = uint8(first>>48), uint8(first>>56), uint32(second), uint32(second>>32)
	from := off + recordHeader
	if r.flags != 0 {
		if r.flags > knownFlags || r.flags&flagTags > MaxTags || extraOf(r.flags) > end-from {
			return r, false
		}
		from += extraOf(r.flags)
		r.extra = extent[off+recordHeader : from : from]
	}
	if r.kind > kindPiece || n > uint64(end-from) || k > end-from-int(n) {
		return r, false
	}
	r.key, r.value = extent[from:from+k:from+k], extent[from+k:from+k+int(n):from+k+int(n)]
	return r, true
}

// write puts the record at off, where it fits.
func (r *record) write(extent []byte, off int, place uint32) {
	first, second := r.words(place)
	ordered.Store64(wordAt(extent, off), first)
	ordered.Store64(wordAt(extent, off+8), second)
	b := extent[off+recordHeader:]
	b = b[copy(b, r.extra):]
	copy(b, r.key)
	copy(b[len(r.key):], r.value)
}

func (r *record) words(place uint32) (first, second uint64) {
	return uint64(len(r.value)) | uint64(len(r.key))<<32 | uint64(r.kind)<<48 | uint64(r.flags)<<56,
		uint64(r.expires) | uint64(r.checksum()^place)<<32
}

// checksum returns a checksum of all that the record says.
func (r *record) checksum() uint32 {
	said := uint32(hashing.Mix(uint64(len(r.value))|uint64(len(r.key))<<32|uint64(r.kind)<<48|uint64(r.flags)<<56, uint64(r.expires)^hashing.Odd2))
	if len(r.extra) > 0 {
		said = crc32.Update(said, castagnoli, r.extra)
	}
	return crc32.Update(crc32.Update(said, castagnoli, r.key), castagnoli, r.value)
}

// whole reports whether the checksum is that of a record in this place.
func (r *record) whole(place uint32) bool { return r.sum == r.checksum()^place }

// place returns what the checksum of a record is mixed with, so that an image of a record elsewhere, say in a value,
// is none. Number is that of the extent in its log.
func (c *Cache) place(extent uint32, number uint64, off int) uint32 {
	return uint32(hashing.Mix(c.seed^number<<20^uint64(off), hashing.Odd1^uint64(extent)))
}

// readRecord copies the value out of a slot's record, if it is the key's.
func (c *Cache) readRecord(w slot, q *query, key, dst []byte) (out []byte, what int) {
	e := w.extent()
	if e == 0 || int(e) > c.extents() {
		return dst, other
	}
	x, off := c.extentOf(e), w.offset()
	life := c.lives[e-1].Load()
	if life&lifeMask != w.life() {
		return dst, changed
	}
	r, ok := parse(x, off, c.extent)
	what, out = other, dst
	if ok && keyKind(r.kind) == q.kind && bytes.Equal(r.key, key) && (!c.expired(r.expires) && r.flags == 0 || c.matchesQuery(q, &r)) {
		if what = right; !q.bare || r.kind == kindHead && q.all != nil {
			if len(r.value) > cap(dst)-len(dst) { // before a wrong length is believed
				if ordered.LoadLoad(); c.lives[e-1].Load() != life {
					return dst, changed
				}
			}
			out = append(out, r.value...)
		}
		if q.is = r.kind; q.all != nil {
			*q.all = all{c.entryOf(&r), Stamp{w, life}}
		}
	}
	if ordered.LoadLoad(); c.lives[e-1].Load() != life {
		return dst, changed
	}
	if what == right && c.checked {
		if len(out) > len(dst) {
			r.value = out[len(dst):]
		}
		if !r.whole(c.place(e, c.rows[e-1].number.Load(), off)) {
			if c.lives[e-1].Load() != life {
				return dst, changed
			}
			return dst, other
		}
	}
	return out, what
}
