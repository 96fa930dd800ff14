package dshash

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestMendNeverShowsNoArray has the word of a partition's array garbled, while an old array has the entries: the repair
// makes that the array, and in no moment there is none, which a reader without the lock takes for an empty partition.
func TestMendNeverShowsNoArray(t *testing.T) {
	ctx := context.Background()
	self := shmsync.Self{Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }}
	a, err := dsa.Create(ctx, new(dsa.Heap), self, dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := CreateBytes(a, Options{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	for k := range 20 {
		if err := b.Set(ctx, fmt.Append(nil, k), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	p := &b.t.parts[0]
	array := p.array.Load()
	var over atomic.Bool
	var looks, none atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			looks.Add(1)
			if p.array.Load() == 0 {
				none.Add(1)
			}
		}
	})
	for n := 0; n < 3000 || looks.Load() < 5e6; n++ {
		p.old.Store(array)
		p.array.Store(1<<55 | 0x1230)
		if _, err := b.t.repairArrays(0); err != nil || p.array.Load() != array || p.old.Load() != 0 || p.count.Load() != 20 {
			t.Fatalf("array %#x, old %#x, %d entries, %v", p.array.Load(), p.old.Load(), p.count.Load(), err)
		}
	}
	over.Store(true)
	if wg.Wait(); none.Load() > 0 {
		t.Errorf("there was no array, %d times", none.Load())
	}
}
