package fence

import (
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// TestAllOrdersStoreAndLoad has one goroutine store a word and load another, without a fence of its own, while another
// stores the second, calls All and loads the first: never do both see the other's word as it was.
func TestAllOrdersStoreAndLoad(t *testing.T) {
	if !Join() || !Able() {
		t.Skip("the kernel has no membarrier, or forbids it")
	}
	rounds := 4_000
	if testing.Short() {
		rounds = 500
	}
	for round := range rounds {
		var note, state atomic.Uint64
		seen := make(chan uint64)
		var ready atomic.Bool
		go func() {
			ready.Store(true)
			for range round % 200 {
				_ = note.Load()
			}
			ordered.Store64(&note, 1)
			seen <- state.Load()
		}()
		for !ready.Load() {
		}
		state.Store(1)
		All()
		mine := note.Load()
		if theirs := <-seen; mine == 0 && theirs == 0 {
			t.Fatalf("round %d: the note was not seen, and the state was loaded as it had been", round)
		}
	}
}
