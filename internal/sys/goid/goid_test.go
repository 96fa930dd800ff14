package goid

import (
	"sync"
	"testing"
)

func TestCurrentTellsGoroutinesApart(t *testing.T) {
	mine := Current()
	if mine == 0 || mine != Current() {
		t.Fatalf("the same goroutine is %d, then %d", mine, Current())
	}
	seen := map[uint64]bool{mine: true}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			id := Current()
			mu.Lock()
			defer mu.Unlock()
			if seen[id] {
				t.Errorf("two goroutines are %d", id)
			}
			seen[id] = true
		})
	}
	all.Wait()
}
