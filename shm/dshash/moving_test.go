package dshash_test

import (
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestMovingUnmapped: a session that has just attached the area, and has mapped none of the items, finds entries that have
// moved to the new array, and inserts new ones there, while the search of the old array meets items that are not mapped.
func TestMovingUnmapped(t *testing.T) {
	type value [1000]byte
	source := &dsa.Heap{}
	a, err := dsa.Create(ctx, source, self(1), dsa.Options{Initial: 64 << 10, MaxSegment: 128 << 10, Sessions: 8})
	must(t, err)
	tab, err := dshash.Create[uint64, value](a, dshash.Options{Partitions: 1})
	must(t, err)
	fresh := func(f func(tab *dshash.Table[uint64, value])) {
		b, err := dsa.Attach(ctx, source, self(2), a.Handle())
		must(t, err)
		other, err := dshash.Attach[uint64, value](b, tab.Handle(), dshash.Options{})
		must(t, err)
		f(other)
		must(t, b.Detach())
	}
	const entries = 6000
	const others = uint64(1 << 40) // keys from there on are those that the second session inserts
	looked, inserted := 0, 0
	for k := range uint64(entries) {
		must(t, tab.Set(ctx, k, value{}))
		last := dshash.MovedLast(tab)
		if last == nil {
			continue
		}
		for q := range k {
			if last(q) {
				looked++
				fresh(func(other *dshash.Table[uint64, value]) {
					e, found, err := other.Find(ctx, q)
					if err != nil || !found {
						t.Fatalf("key %d of %d: found %v, %v", q, k, found, err)
					}
					e.Release()
				})
			}
		}
		for q := others + k*1000; ; q++ { // one, since it makes a step
			if last(q) {
				inserted++
				fresh(func(other *dshash.Table[uint64, value]) { must(t, other.Set(ctx, q, value{1})) })
				break
			}
		}
	}
	if looked < 300 || inserted < 50 {
		t.Fatalf("%d looks and %d insertions while entries moved are too few to tell anything", looked, inserted)
	}
	if n := tab.Len(); n != entries+inserted {
		t.Errorf("%d entries are counted, of %d", n, entries+inserted)
	}
	rep, err := tab.Verify(ctx)
	must(t, err)
	if len(rep.Problems) > 0 || rep.Entries != entries+inserted {
		t.Errorf("%+v, and %d entries were inserted", rep, entries+inserted)
	}
}
