package dshash_test

import (
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestArrayReturns: one session shrinks a table and grows it, so that its array is where another
// session saw it last, with another number of lines. The other finds all that is there, and what it
// writes is where all look for it.
func TestArrayReturns(t *testing.T) {
	const few, some, many = 100, 5000, 9000 // lines; from some on, an array has chunks of its own
	for _, c := range []struct {
		name      string
		was, then int
	}{{"longer", some, many}, {"shorter", many, some}} {
		t.Run(c.name, func(t *testing.T) {
			var h dsa.Heap
			a, err := dsa.Create(ctx, &h, self(1), dsa.Options{Sessions: 2, Initial: 4 << 20})
			must(t, err)
			tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 1})
			must(t, err)
			b, err := dsa.Attach(ctx, &h, self(2), a.Handle())
			must(t, err)
			other, err := dshash.Attach[uint64, uint64](b, tab.Handle(), dshash.Options{})
			must(t, err)
			rebuild := func(lines int) dsa.Pointer {
				at, err := dshash.Rebuild(tab, lines)
				must(t, err)
				return at
			}
			sees := func(tab *dshash.Table[uint64, uint64], n uint64) {
				t.Helper()
				missed := 0
				for k := range n {
					v, found, err := tab.Get(ctx, k)
					if must(t, err); !found || v != k {
						missed++
					}
				}
				if missed > 0 {
					t.Errorf("%d of %d are not found", missed, n)
				}
			}

			const n = 300
			for k := range uint64(n) {
				must(t, tab.Set(ctx, k, k))
			}
			rebuild(few)
			at := rebuild(c.was)
			sees(other, n)
			rebuild(few)
			if again := rebuild(c.then); again != at {
				t.Fatalf("the array is at %v, not at %v", again, at)
			}
			sees(other, n)
			for k := range uint64(2 * n) {
				must(t, other.Set(ctx, k, k))
			}
			sees(tab, 2*n)
			if tab.Len() != 2*n {
				t.Errorf("%d entries, not %d", tab.Len(), 2*n)
			}
			clean(t, a, 0, tab)
			must(t, other.Destroy(ctx))
			clean(t, a, 0)
			must(t, b.Detach())
			must(t, a.Detach())
			if n, _ := h.InUse(); n != 0 {
				t.Errorf("%d segments are left", n)
			}
		})
	}
}
