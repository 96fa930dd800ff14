package onebit

import (
	"math/rand/v2"
	"testing"
)

func TestEveryBit(t *testing.T) {
	for range 2000 {
		n := rand.Uint64N(Limit) >> rand.IntN(57)
		if got := Of(Word(n)); got != n {
			t.Fatalf("%#x is read as %#x", n, got)
		}
		for bit := range 64 {
			if got := Of(Word(n) ^ 1<<bit); got != n {
				t.Fatalf("%#x with bit %d of its word wrong is read as %#x", n, bit, got)
			}
		}
	}
}
