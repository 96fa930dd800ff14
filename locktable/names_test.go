package locktable_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/godsm/godsm/locktable"
)

// TestNamesLockedAgainStayPinned: a path that is locked again, not long after, has its head kept, of so many paths at
// most, and gives it back for others, for want of memory, and at Close. A path that is locked once leaves nothing.
func TestNamesLockedAgainStayPinned(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	x, other := ts[0], ts[1]
	for k := range 3000 {
		must(t, lock(t, x, ctx, locktable.Exclusive, fmt.Sprint("once ", k)).Unlock())
	}
	if n := x.Near() + x.Records(); n > 0 {
		t.Errorf("%d names and records of paths that were locked once", n)
	}
	most := 0
	for k := range 2500 {
		for range 3 {
			must(t, lock(t, x, ctx, locktable.Shared, "layers", digest(k)).Unlock())
		}
		if n := x.Near(); n > most {
			most = n
		} else if n < most {
			t.Fatalf("%d names, after %d", n, most)
		}
	}
	if most < 512 || most > 1024 {
		t.Errorf("%d of 2500 names are pinned", most)
	}
	// The names that were locked last have a pin each: they are not forgotten, and others find them as they are.
	must(t, other.Collect())
	h := lock(t, x, ctx, locktable.Exclusive, "layers", digest(2499))
	if list := collect(other.Holders("layers", digest(2499))); len(list) != 1 || list[0].Mode != locktable.Exclusive {
		t.Errorf("%+v", list)
	}
	must(t, h.Unlock())
	if !x.Shed() || x.Near() > 0 {
		t.Errorf("%d names are left", x.Near())
	}
	if n := x.Records(); n > 2 { // the intents of "layers"
		t.Errorf("%d records are left", n)
	}
	for range 3 {
		must(t, lock(t, x, ctx, locktable.Shared, "layers").Unlock())
	}
	x.Close()
	must(t, other.Collect())
	if owned, err := other.Owned(); err != nil || owned > 2+64*4+8 {
		t.Error(owned, err)
	}
}

// TestNamesByManyGoroutines has goroutines of two sessions lock more paths than a session pins, some of them several
// at once: no two are in, and none waits for ever.
func TestNamesByManyGoroutines(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	var wg sync.WaitGroup
	const paths = 1500
	in := make([]int, paths) // written under the lock of the path
	for g := range 4 {
		x := ts[g%2]
		wg.Go(func() {
			for i := range 6000 {
				k := i * (g + 1) % paths
				if i%3 > 0 {
					k %= 7
				}
				if i%11 == 0 {
					hs, err := x.LockMany(ctx, locktable.Want{Mode: locktable.Exclusive, Path: []string{digest(k)}},
						locktable.Want{Mode: locktable.Shared, Path: []string{digest((k + 1) % paths)}},
						locktable.Want{Mode: locktable.Exclusive, Path: []string{digest(k)}})
					if err != nil {
						t.Error(err)
						return
					}
					in[k]++
					if err := hs.Unlock(); err != nil {
						t.Error(err)
					}
					continue
				}
				h, err := x.Lock(ctx, locktable.Exclusive, digest(k))
				if err != nil {
					t.Error(err)
					return
				}
				in[k]++
				if err := h.Unlock(); err != nil {
					t.Error(err)
				}
				if i%500 == 0 {
					x.Shed()
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range in {
		sum += n
	}
	if sum != 4*6000 {
		t.Errorf("%d of %d locks had another one beside them", 4*6000-sum, 4*6000)
	}
	for i := range ts[0].List() {
		t.Errorf("%s is left: %+v", i.Name(), i)
	}
}
