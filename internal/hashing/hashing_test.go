package hashing_test

import (
	"math/bits"
	"testing"

	"github.com/godsm/godsm/internal/hashing"
)

// TestBytesDependsOnEachBit flips each bit of keys of each length: about half of the hash's bits change.
func TestBytesDependsOnEachBit(t *testing.T) {
	for n := range 70 {
		key := make([]byte, n)
		for i := range key {
			key[i] = byte(i * 37)
		}
		seen := map[uint64]bool{hashing.Bytes(key, 7, 7): true}
		changed := 0
		for i := range n * 8 {
			key[i/8] ^= 1 << (i % 8)
			h := hashing.Bytes(key, 7, 7)
			key[i/8] ^= 1 << (i % 8)
			if seen[h] {
				t.Fatalf("bit %d of %d bytes leads to a hash that was there", i, n)
			}
			seen[h] = true
			changed += bits.OnesCount64(h ^ hashing.Bytes(key, 7, 7))
		}
		if mean := float64(changed) / float64(max(1, n*8)); n > 0 && (mean < 28 || mean > 36) {
			t.Errorf("a bit of %d bytes changes %.1f bits of 64", n, mean)
		}
	}
}

// TestBytesOfOtherSeedsAndKinds has seeds and kinds with different hashes of one key, and lengths that zeros alone differ by.
func TestBytesOfOtherSeedsAndKinds(t *testing.T) {
	seen := map[uint64]bool{}
	for n := range 100 {
		for _, h := range []uint64{
			hashing.Bytes(make([]byte, n), 1, 1), hashing.Bytes(make([]byte, n), 2, 2), hashing.Bytes(make([]byte, n), 1+hashing.Odd2, 1),
		} {
			if seen[h] {
				t.Errorf("the hash of %d zeros was there", n)
			}
			seen[h] = true
		}
	}
}
