// Package hashing hashes the keys that structures in shared memory are looked up by: dshash, logcache, locktable.
//
// It is quick and seeded, and no more than that: who knows the seed can choose keys that collide. All sessions of a
// structure must have the same function, so a change of it is a change of each one's layout.
package hashing

import (
	"encoding/binary"
	"math/bits"
)

// Odd0, Odd1 and Odd2 are constants with as many ones as zeros, for those who mix words of their own.
const (
	Odd0 = 0x9e37_79b9_7f4a_7c15
	Odd1 = 0xd6e8_feb8_6659_fd93
	Odd2 = 0xa076_1d64_78bd_642f
)

// Mix returns both halves of the product of two words, folded into one.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// Bytes returns the hash of b. It mixes 16 bytes at a time by multiplication, from start on, and once more in the end, with
// the length and the seed. Start is the seed, or what keeps keys of one kind apart from those of another.
func Bytes(b []byte, start, seed uint64) uint64 {
	h, n := start, uint64(len(b))
	for ; len(b) > 16; b = b[16:] {
		h = Mix(binary.LittleEndian.Uint64(b)^Odd0, binary.LittleEndian.Uint64(b[8:])^h^Odd1)
	}
	var lo, hi uint64
	switch n := len(b); {
	case n >= 8:
		lo, hi = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		lo, hi = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		lo = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	return Mix(Mix(lo^Odd0, hi^h^Odd2)^Odd2, n^seed^Odd1)
}
