package dsa

import (
	"sync"
	"testing"
)

// TestFreedStaysFreedDuringHarvest has a goroutine ask again and again whether blocks are allocated that were freed
// before, while the span's session harvests them: no answer is yes.
func TestFreedStaysFreedDuringHarvest(t *testing.T) {
	a := inPlace(t, 1)
	m, cl := a.maps[0].Load(), &classes[0]
	r := spanRef{m, 3, &m.spans[3]}
	rounds := 3000
	if testing.Short() {
		rounds = 1000
	}
	for range rounds {
		for w := range cl.words {
			r.s.words[w].used.Store(^uint64(0))
			r.s.words[w].freed.Store(1) // one: the sooner the harvest is at the next word
		}
		var wg sync.WaitGroup
		start := make(chan struct{})
		wg.Go(func() {
			close(start)
			for w := 0; w < cl.words; {
				if r.s.allocated(w << 6) {
					t.Error("a block that was freed is allocated again, for a moment")
					return
				}
				if r.s.words[w].freed.Load() == 0 {
					w++
				}
			}
		})
		<-start
		r.harvest(cl)
		if wg.Wait(); t.Failed() {
			return
		}
	}
}
