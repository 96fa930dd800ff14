package locktable

import "testing"

// TestHeadOfNoPartition has a record name a partition that an int of a 32-bit processor takes for negative: it has no
// head.
func TestHeadOfNoPartition(t *testing.T) {
	for _, part := range []uint64{partitions, 1 << 31, 1<<32 - 1} {
		if h := new(sight).headOf(part<<32 | 1); h != nil {
			t.Errorf("partition %#x has a head", part)
		}
	}
}
