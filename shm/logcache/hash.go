package logcache

import "github.com/godsm/godsm/internal/hashing"

// hash is a key's: bits 56-63 are the shard, 40-52 the tag, 0-31 the first line.
type hash uint64

// hashOf returns the hash of a key. Keys of another kind have other hashes.
func hashOf(kind uint8, key []byte, seed uint64) hash {
	return hash(hashing.Bytes(key, seed+uint64(kind)*hashing.Odd2, seed))
}

func (h hash) tag() uint64 { return uint64(h>>40) & tagMask }

func (h hash) shard(shards int) int { return int(h>>56) & (shards - 1) }

// base returns the number of the key's first line, before the index has doubled, of n.
func (h hash) base(n int) int { return int(uint64(h) & (1<<32 - 1) * uint64(n) >> 32) }

// otherBase turns the base of one line of a key into that of the other. It follows from the tag, so that an entry can be
// put into its other line without a look at its record.
func otherBase(base int, tag uint64, n int) int {
	sum := int(hashing.Mix(tag+hashing.Odd0, hashing.Odd1) >> 32 * uint64(n) >> 32)
	if sum < base {
		sum += n
	}
	return sum - base
}

// forPolicy returns the hash that the policy has: one in which the keys of a shard have nothing in common.
func (h hash) forPolicy() uint64 { return hashing.Mix(uint64(h)^hashing.Odd2, hashing.Odd1) }
