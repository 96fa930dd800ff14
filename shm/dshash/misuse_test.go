package dshash_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestNoMemory: what fails for want of memory changes nothing, and goes when there is memory again.
func TestNoMemory(t *testing.T) {
	a := heap(t, dsa.Options{Initial: 200 << 10, Sessions: 4})
	tab, err := dshash.Create[uint64, [100]uint64](a, dshash.Options{Partitions: 2})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 2})
	must(t, err)
	must(t, bs.Set(ctx, []byte("k"), []byte("v")))
	must(t, a.SetLimit(ctx, a.Total()))
	there := map[uint64]bool{}
	n := uint64(0)
	for failed := 0; failed < 100; n++ { // there may be room in the other partition still
		if err := tab.Set(ctx, n, [100]uint64{n}); err == nil {
			there[n] = true
		} else if failed++; !errors.Is(err, dsa.ErrLimit) {
			t.Fatal(err)
		}
	}
	if err := bs.Set(ctx, []byte("k"), make([]byte, 100_000)); !errors.Is(err, dsa.ErrLimit) {
		t.Fatal(err)
	}
	e, found, err := bs.FindExclusive(ctx, []byte("k"))
	must(t, err)
	if _, err := e.Update(100_000); !found || !errors.Is(err, dsa.ErrLimit) || string(e.Value()) != "v" {
		t.Errorf("%v, %v: %q", found, err, e.Value())
	}
	e.Release()
	if e, found, err := tab.FindExclusive(ctx, 0); err != nil || !found {
		t.Error(err)
	} else {
		if _, err := e.Update(); err != nil && !errors.Is(err, dsa.ErrLimit) {
			t.Error(err)
		}
		if v := e.Value(); v[0] != 0 {
			t.Error(*v)
		}
		e.Release()
	}
	if tab.Len() != len(there) || len(there) < 10 {
		t.Errorf("%d entries, not %d", tab.Len(), len(there))
	}
	clean(t, a, 0, tab, bs)
	if found, err := tab.Delete(ctx, 3); !found || err != nil {
		t.Error(found, err)
	}
	must(t, tab.Set(ctx, 3, [100]uint64{3}))
	for k := range n {
		if v, found, err := tab.Get(ctx, k); err != nil || found != there[k] || found && v[0] != k {
			t.Error(k, found, err)
		}
	}
	clean(t, a, 0, tab, bs)
}

// TestUpdateFails: an Update that fails leaves an entry that can be updated, deleted and released, whether it
// was there before or is new.
func TestUpdateFails(t *testing.T) {
	const limit, tooMuch = 2 << 20, 4 << 20
	type held = *dshash.BytesEntry
	ends := []struct {
		name string
		end  func(t *testing.T, e held)
		want string // the value; "" if there is none
		old  string // of one that was there
	}{
		{"release", func(_ *testing.T, e held) { e.Release() }, "", "old"},
		{"delete", func(t *testing.T, e held) { must(t, e.Delete()) }, "", ""},
		{"again", func(t *testing.T, e held) {
			b, err := e.Update(3)
			must(t, err)
			copy(b, "new")
			e.Release()
		}, "new", "new"},
	}
	for _, there := range []bool{false, true} {
		for _, earlier := range []int{-1, 2, 700} { // the length that an Update before asked for
			for _, c := range ends {
				t.Run(fmt.Sprintf("there=%v/%d/%s", there, earlier, c.name), func(t *testing.T) {
					a := heap(t, dsa.Options{Initial: 200 << 10, Sessions: 4})
					bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
					must(t, err)
					must(t, bs.Set(ctx, []byte("other"), []byte("x")))
					want := c.want
					if there {
						must(t, bs.Set(ctx, []byte("k"), []byte("old")))
						want = c.old
					}
					must(t, a.SetLimit(ctx, limit))

					e, found, err := bs.Insert(ctx, []byte("k"), 9)
					if must(t, err); found != there {
						t.Fatal(found)
					}
					if earlier >= 0 {
						_, err := e.Update(earlier)
						must(t, err)
					}
					before := string(e.Value())
					if _, err := e.Update(-1); !errors.Is(err, dshash.ErrSize) || string(e.Value()) != before {
						t.Errorf("%v, %q", err, e.Value())
					}
					if _, err := e.Update(tooMuch); !errors.Is(err, dsa.ErrLimit) || string(e.Key()) != "k" {
						t.Errorf("%v, %q", err, e.Key())
					}
					c.end(t, &e)

					got, found, err := bs.Get(ctx, []byte("k"), nil)
					if err != nil || found != (want != "") || string(got) != want {
						t.Errorf("%q, %v, %v", got, found, err)
					}
					must(t, bs.Set(ctx, []byte("k"), []byte("the lock is free")))
					if n := clean(t, a, 0, bs); n != 2 {
						t.Errorf("%d entries", n)
					}
				})
			}
		}
	}
}

// TestGrowAndShrink: arrays follow the number of entries, both ways.
func TestGrowAndShrink(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 4})
	must(t, err)
	lines := func() int {
		rep, err := tab.Verify(ctx)
		must(t, err)
		return rep.Lines
	}
	const n = 20_000
	for k := range uint64(n) {
		must(t, tab.Set(ctx, k, k))
	}
	if got := lines(); got < n/7*5/4 || got > n/7*2 {
		t.Errorf("%d lines for %d entries", got, n)
	}
	clean(t, a, 0, tab)
	for k := range uint64(n - 10) {
		_, err := tab.Delete(ctx, k)
		must(t, err)
	}
	if got := lines(); got > 16 {
		t.Errorf("%d lines for 10 entries", got)
	}
	clean(t, a, 0, tab)
	for k := range uint64(n) {
		must(t, tab.Set(ctx, k, k))
	}
	for e, err := range tab.Scan(ctx, true) {
		must(t, err)
		must(t, e.Delete())
	}
	if got := lines(); got > 4 {
		t.Errorf("%d lines for none", got)
	}
	clean(t, a, 0, tab)
}

// TestOverhead: an entry takes at most 24 bytes besides key and value, all in: slots, arrays, rounding, the allocator's
// own, the table's partitions (2 bytes each, here). The smallest object has 16 bytes, so a set of small keys takes up to
// 8 more.
func TestOverhead(t *testing.T) {
	for _, n := range []int{25_000, 35_000, 50_000, 74_000} { // fuller and emptier arrays
		check := func(name string, size int, most float64, put func(a *dsa.Area) error) {
			a := heap(t, dsa.Options{Sessions: 32}) // what the area keeps for sessions is no entry's
			must(t, put(a))
			must(t, a.Trim(ctx))
			st, err := a.Stats(ctx)
			must(t, err)
			each := float64(st.Used)/float64(n) - float64(size)
			each += float64(st.Overhead) / float64(st.Total-st.Overhead) * float64(st.Used) / float64(n)
			t.Logf("%s, %d entries: %.1f bytes each beside %d", name, n, each, size)
			if each > most {
				t.Errorf("%s, %d entries: %.1f bytes", name, n, each)
			}
		}
		check("8 + 8", 16, 24, func(a *dsa.Area) error { return fill[uint64](a, n) })
		check("8 + 24", 32, 24, func(a *dsa.Area) error { return fill[[3]uint64](a, n) })
		check("8 + 200", 208, 24, func(a *dsa.Area) error { return fill[[200]byte](a, n) })
		check("8 + 0", 8, 32, func(a *dsa.Area) error { return fill[struct{}](a, n) })
	}
}

func fill[V any](a *dsa.Area, n int) error {
	tab, err := dshash.Create[uint64, V](a, dshash.Options{})
	for k := 0; err == nil && k < n; k++ {
		var v V
		err = tab.Set(ctx, uint64(k), v)
	}
	return err
}

// TestScanBeside: what is there all the time is seen once by a scan that deletes, while others insert and delete.
func TestScanBeside(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 8})
	must(t, err)
	const stay = 1000
	for k := range uint64(stay) {
		must(t, tab.Set(ctx, k, k))
	}
	stop := make(chan bool)
	var others sync.WaitGroup
	for id := range uint64(2) {
		others.Go(func() {
			for n := uint64(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				k := stay + n%3000*2 + id
				if err := tab.Set(ctx, k, k); err != nil {
					t.Error(err)
					return
				}
				if k < stay+400 {
					continue
				}
				if _, err := tab.Delete(ctx, k-200); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		seen := map[uint64]int{}
		for e, err := range tab.Scan(ctx, true) {
			must(t, err)
			if *e.Value() != e.Key() {
				t.Errorf("%d has %d", e.Key(), *e.Value())
			}
			if e.Key() < stay {
				seen[e.Key()]++
			} else if e.Key()%3 == 0 {
				must(t, e.Delete())
			}
		}
		maps.DeleteFunc(seen, func(_ uint64, n int) bool { return n == 1 })
		if len(seen) > 0 {
			t.Errorf("seen not once: %v", seen)
		}
		n := 0
		for range tab.Scan(ctx, false) {
			if n++; n == 10 {
				break
			}
		}
	}
	close(stop)
	others.Wait()
	clean(t, a, 0, tab)
	for k := range uint64(stay) {
		if _, found, err := tab.Get(ctx, k); !found || err != nil {
			t.Error(k, found, err)
		}
	}
}

// TestOver: a table whose area is detached says so.
func TestOver(t *testing.T) {
	var h dsa.Heap
	a, err := dsa.Create(ctx, &h, self(1), dsa.Options{})
	must(t, err)
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{})
	must(t, err)
	must(t, tab.Set(ctx, 1, 2))
	must(t, a.Detach())
	if err := tab.Set(ctx, 1, 3); !errors.Is(err, dsa.ErrClosed) {
		t.Error(err)
	}
	if err := tab.Dump(ctx, io.Discard); !errors.Is(err, dsa.ErrClosed) {
		t.Error(err)
	}
	for _, err := range tab.Scan(ctx, false) {
		if !errors.Is(err, dsa.ErrClosed) {
			t.Error(err)
		}
	}
}
