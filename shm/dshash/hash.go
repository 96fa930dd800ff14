package dshash

import (
	"encoding/binary"
	"math/bits"
)

// A key's hash says where its entry is: bits 48-63 the partition, 32-47 the tag, 0-31 the home line.

const (
	odd0 = 0x9e37_79b9_7f4a_7c15
	odd1 = 0xd6e8_feb8_6659_fd93
	odd2 = 0xa076_1d64_78bd_642f
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hashOf mixes 16 bytes at a time with the seed by multiplication, and once more in the end.
func hashOf(key []byte, seed uint64) uint64 {
	if len(key) == 8 {
		return hashWord(binary.NativeEndian.Uint64(key), seed)
	}
	return hashLong(key, seed)
}

func hashWord(key, seed uint64) uint64 { return mix(mix(key^seed, odd0)^odd2, seed^odd1^8) }

func hashLong(key []byte, seed uint64) uint64 {
	h, b := seed, key
	for len(b) > 16 {
		h = mix(binary.NativeEndian.Uint64(b)^odd0, binary.NativeEndian.Uint64(b[8:])^h^odd1)
		b = b[16:]
	}
	var lo, hi uint64
	switch n := len(b); {
	case n >= 8:
		lo, hi = binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[n-8:])
	case n >= 4:
		lo, hi = uint64(binary.NativeEndian.Uint32(b)), uint64(binary.NativeEndian.Uint32(b[n-4:]))
	case n > 0:
		lo = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	return mix(mix(lo^odd0, hi^h^odd2)^odd2, uint64(len(key))^seed^odd1)
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
