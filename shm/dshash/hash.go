package dshash

import (
	"encoding/binary"
	"math/bits"

	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/shm/dsa"
)

// A key's hash decides where its entry is: bits 48 to 63 give the partition, 32 to 47 the tag, and 0 to 31 the home
// line. The partition is that of the topmost bits, as many as the number of partitions needs. The functions of this
// file are pure. All processes must compute the same: a change of any of them is a change of the layout.

// hashOf returns the hash of a key of any length. Keys of 8 bytes take a shorter way; it gives the same hash in a
// Table and in a Bytes.
func hashOf(key []byte, seed uint64) uint64 {
	if len(key) == 8 {
		return hashWord(binary.NativeEndian.Uint64(key), seed)
	}
	return hashing.Bytes(key, seed, seed)
}

// hashWord returns the hash of a key of 8 bytes that is read as a word of this processor's byte order.
func hashWord(key, seed uint64) uint64 {
	return hashing.Mix(hashing.Mix(key^seed, hashing.Odd0)^hashing.Odd2, seed^hashing.Odd1^8)
}

// tagOf returns the tag of a hash, from 1 to 255: 0 means that a slot is empty.
func tagOf(h uint64) uint64 { return h>>32&0xffff*255>>16 + 1 }

// homeOf returns the line, of n, at which the search for an entry begins. It scales the hash to n by a
// multiplication, so n need not be a power of two.
func homeOf(h uint64, n int) int { return int(h & (1<<32 - 1) * uint64(n) >> 32) }

// everyByte has a 1 in each byte: a product with it is a byte's value in each byte of a word.
const everyByte = 0x0101_0101_0101_0101

// matchTag marks the slots of a line whose tag is the given one, by bit 7 of their byte. The byte above a match may be
// marked although its tag differs by one bit: the borrow of the subtraction. So a caller looks at the slot's item, or
// at the slot, before it believes a mark. The overflow, byte 7, is never marked.
func matchTag(tags, tag uint64) uint64 {
	x := tags ^ tag*everyByte
	return (x - everyByte) &^ x & (0x80 * everyByte >> 8)
}

// lowestSlot returns the number of the lowest slot that is marked. Marks is not 0.
func lowestSlot(marks uint64) int { return bits.TrailingZeros64(marks) >> 3 }

// overflowOf returns how many entries passed a line with these tags; overflowFull stands for that many or more.
func overflowOf(tags uint64) uint64 { return tags >> overflowShift }

// withTag returns the tags with another one for that slot.
func withTag(tags uint64, slot int, tag uint64) uint64 { return tags&^(0xff<<(slot*8)) | tag<<(slot*8) }

// hashLines puts the hashes of the keys of at most atMost lines into hashes: see hashLine.
func (t *core) hashLines(ls []line, hashes *[atMost][slotsPerLine]uint64) error {
	for k := range ls {
		if err := t.hashLine(&ls[k], &hashes[k]); err != nil {
			return err
		}
	}
	return nil
}

// hashLine puts the hashes of the keys of a line into hashes; those of empty slots stay as they are. It may attach
// segments. A slot that leads to no item is ErrCorrupt.
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
		b, err := t.bytesAt(at)
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
