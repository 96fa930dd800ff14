package locktable_test

import (
	"testing"
	"time"

	"github.com/godsm/godsm/locktable"
)

// TestManyNames: a lock that is held takes at most 144 bytes, and what is given back leaves nothing; a million names
// in turn, or with -short a tenth of that, take no more than a few.
func TestManyNames(t *testing.T) {
	held, turns := 100_000, 1_000_000
	if testing.Short() {
		held, turns = 20_000, 100_000
	}
	w := new(world)
	x := w.tables(t, 1, locktable.Options{})[0]
	used := func() int64 {
		st, err := x.Area().Stats(ctx)
		must(t, err)
		return st.Used
	}
	before := used()
	var hs locktable.Holds
	for k := range held {
		hs = append(hs, lock(t, x, ctx, locktable.Exclusive, "layers", digest(k)))
	}
	each := float64(used()-before) / float64(held)
	began := time.Now()
	n := 0
	for range x.List() {
		n++
	}
	t.Logf("%d held: %.1f bytes each; listed in %v", held, each, time.Since(began))
	if n != held+1 || each > 144 && held == 100_000 {
		t.Errorf("%d listed, %.1f bytes each", n, each)
	}
	must(t, hs.Unlock())
	after := used() - before
	for k := range turns {
		must(t, lock(t, x, ctx, locktable.Exclusive, "layers", digest(k)).Unlock())
	}
	t.Logf("%d bytes after they were given back, %d after %d names in turn", after, used()-before, turns)
	if after > 1<<20 || used()-before > 1<<20 {
		t.Errorf("%d bytes, and %d, are left", after, used()-before)
	}
	must(t, x.Collect())
	owned, err := x.Owned()
	must(t, err)
	if st, _ := x.Area().Stats(ctx); st.Objects != owned {
		t.Errorf("%d objects, of which %d are owned", st.Objects, owned)
	}
}
