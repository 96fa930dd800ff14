package dshash

import (
	"encoding/binary"
	"math/bits"

	"github.com/godsm/godsm/internal/hashing"
)

// A key's hash says where its entry is: bits 48-63 the partition, 32-47 the tag, 0-31 the home line.

// hashOf returns the hash of a key. Those of 8 bytes, and so those of tables of fixed types, take a shorter way.
func hashOf(key []byte, seed uint64) uint64 {
	if len(key) == 8 {
		return hashWord(binary.NativeEndian.Uint64(key), seed)
	}
	return hashing.Bytes(key, seed, seed)
}

func hashWord(key, seed uint64) uint64 {
	return hashing.Mix(hashing.Mix(key^seed, hashing.Odd0)^hashing.Odd2, seed^hashing.Odd1^8)
}

// tagOf is never 0.
func tagOf(h uint64) uint64 { return h>>32&0xffff*255>>16 + 1 }

// homeOf returns the line of n in which an entry is looked for first.
func homeOf(h uint64, n int) int { return int(h & (1<<32 - 1) * uint64(n) >> 32) }

const everyByte = 0x0101_0101_0101_0101

// match marks the slots of a line that bear the tag, by bit 7 of their byte; now and then one above such a slot too.
func match(tags, tag uint64) uint64 {
	x := tags ^ tag*everyByte
	return (x - everyByte) &^ x & (0x80 * everyByte >> 8)
}

// slotOf returns the lowest slot that is marked.
func slotOf(marks uint64) int { return bits.TrailingZeros64(marks) >> 3 }

func overflow(tags uint64) uint64 { return tags >> overflowShift }

func withTag(tags uint64, slot int, tag uint64) uint64 { return tags&^(0xff<<(slot*8)) | tag<<(slot*8) }
