package logcache

import (
	"encoding/binary"
	"math/bits"
)

// hash is a key's: bits 56-63 are the shard, 40-52 the tag, 0-31 the first line.
type hash uint64

const (
	odd0 = 0x9e37_79b9_7f4a_7c15
	odd1 = 0xd6e8_feb8_6659_fd93
	odd2 = 0xa076_1d64_78bd_642f
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hashOf mixes 16 bytes at a time with the seed by multiplication. Keys of another kind have other hashes.
func hashOf(kind uint8, key []byte, seed uint64) hash {
	h, b := seed+uint64(kind)*odd2, key
	for len(b) > 16 {
		h = mix(binary.LittleEndian.Uint64(b)^odd0, binary.LittleEndian.Uint64(b[8:])^h^odd1)
		b = b[16:]
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
	return hash(mix(mix(lo^odd0, hi^h^odd2)^odd2, uint64(len(key))^seed^odd1))
}

func (h hash) tag() uint64 { return uint64(h>>40) & tagMask }

func (h hash) shard(shards int) int { return int(h>>56) & (shards - 1) }

// base returns the number of the key's first line, before the index has doubled, of n.
func (h hash) base(n int) int { return int(uint64(h) & (1<<32 - 1) * uint64(n) >> 32) }

// otherBase turns the base of one line of a key into that of the other. It follows from the tag, so that an entry can be
// put into its other line without a look at its record.
func otherBase(base int, tag uint64, n int) int {
	sum := int(mix(tag+odd0, odd1) >> 32 * uint64(n) >> 32)
	if sum < base {
		sum += n
	}
	return sum - base
}

// forPolicy returns the hash that the policy has: one in which the keys of a shard have nothing in common.
func (h hash) forPolicy() uint64 { return mix(uint64(h)^odd2, odd1) }
