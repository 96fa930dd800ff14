package control

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFreePages compares the search with one that looks at each page, from every hint.
func TestFreePages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		w := newWorld(t, Limits{Processes: 1, Segments: 1, Reserved: (1 + rng.Uint64N(300)) * PageSize})
		pages := int(w.Limits.Reserved / PageSize)
		used, longest, run := make([]bool, pages), 0, 0
		for rest := rng.IntN(4); rest > 0; rest-- {
			used[rng.IntN(pages)] = true
		}
		for i := range used {
			if run++; used[i] {
				w.markPagesUsed(i, 1)
				run = 0
			}
			longest = max(longest, run)
		}
		for hint := range pages + 1 {
			for _, n := range []int{1, longest, longest + 1, 1 + rng.IntN(pages)} {
				w.header.pageHint.Store(uint32(hint))
				first, ok := w.freePagesLocked(n)
				if ok != (n <= longest) {
					t.Fatalf("%d pages of %d, up to %d in a row, from %d on: %v", n, pages, longest, hint, ok)
				}
				if ok && (first+n > pages || slices.Contains(used[first:first+n], true)) {
					t.Fatalf("%d pages from %d on are not free: %v", n, first, used)
				}
			}
		}
	}
}

// TestFreePagesOfMany: what is too much for one look, the next looks find, though it lies where one ended.
func TestFreePagesOfMany(t *testing.T) {
	const words, look = 4 * maxLook, 64 * maxLook
	if uint64(words*64*PageSize) > math.MaxInt {
		t.Skip("skipped: no system of 32 bits has such a region")
	}
	w := newWorld(t, Limits{Processes: 1, Segments: 1, Reserved: words * 64 * PageSize})
	w.markPagesUsed(0, words*64)
	for _, n := range []int{1, 100, look / 2, look + 100} {
		end := 64 * (maxLook + (n+63)/64 + 1) // of the first look
		for _, first := range []int{0, look - n/2, look, end - n/2, end, 64*words - n} {
			first = max(first, 0)
			w.markPagesFree(first, n)
			w.header.pageHint.Store(0)
			found := false
			for looks := 0; !found && looks < 4; looks++ {
				_, found = w.freePagesLocked(n)
			}
			if !found {
				t.Errorf("%d pages from %d on are not found", n, first)
			}
			w.markPagesUsed(first, n)
		}
	}
}
