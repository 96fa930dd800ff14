package dsa

import (
	"sync"
	"testing"
	"time"
)

// TestStripe: one at a time, also when one has it for long.
func TestStripe(t *testing.T) {
	var s stripe
	var wg sync.WaitGroup
	n := 0
	s.Lock()
	for range 8 {
		wg.Go(func() {
			for range 10000 {
				s.Lock()
				n++
				s.Unlock()
			}
		})
	}
	time.Sleep(2 * time.Millisecond) // until those who wait have come to sleeping
	if n != 0 {
		t.Errorf("%d had it beside its holder", n)
	}
	s.Unlock()
	wg.Wait()
	if n != 80000 {
		t.Errorf("counted %d, want 80000", n)
	}
}
