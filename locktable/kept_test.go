package locktable_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/locktable"
)

// TestNameIsReleasedWhileManyLockIt has goroutines lock names that others release and look up anew, while idle heads
// lose their names and get others: no two are in at once.
func TestNameIsReleasedWhileManyLockIt(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	const names, rounds = 4, 400
	var kept [names]atomic.Pointer[locktable.Name]
	var in [names]atomic.Int32
	look := func(k int) {
		n, err := ts[0].Name(ctx, fmt.Sprint("name ", k))
		must(t, err)
		if was := kept[k].Swap(n); was != nil {
			was.Release()
		}
	}
	for k := range names {
		look(k)
	}
	enter := func(k int, h locktable.Hold, err error) {
		if errors.Is(err, locktable.ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		if in[k].Add(1) != 1 {
			t.Errorf("two are in %d", k)
		}
		in[k].Add(-1)
		if err := h.Unlock(); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 4 * rounds {
				k := (g + i) % names
				h, err := kept[k].Load().Lock(ctx, locktable.Exclusive)
				enter(k, h, err)
			}
		})
	}
	wg.Go(func() {
		for i := range rounds {
			look(i % names)
		}
	})
	wg.Go(func() {
		for i := range rounds {
			h, err := ts[1].Lock(ctx, locktable.Exclusive, fmt.Sprint("name ", i%names))
			enter(i%names, h, err)
			if h, err = ts[1].Lock(ctx, locktable.Exclusive, fmt.Sprint("passing ", i)); err != nil || h.Unlock() != nil {
				t.Error(err)
			}
			if i%16 == 0 {
				if err := ts[1].Collect(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Wait()
	for k := range names {
		kept[k].Load().Release()
	}
	for i := range ts[1].List() {
		t.Errorf("%s is left: %+v", i.Name(), i)
	}
}

// TestUseBesideUnlock uses a hold of a kept name while others unlock it, lock the name again, and close the table.
// What they do to it does not reach another name's lock.
func TestUseBesideUnlock(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	n, err := ts[0].Name(ctx, "a")
	must(t, err)
	guard := lock(t, ts[1], ctx, locktable.Exclusive, "b")
	tok, err := guard.Token()
	must(t, err)
	var wg sync.WaitGroup
	for range 300 {
		h, err := n.Lock(ctx, locktable.Exclusive)
		must(t, err)
		for _, f := range []func() error{
			func() error { _, err := h.Changed(); return err }, h.Repaired, h.Unlock, h.Unlock,
			func() error { return h.Upgrade(ctx, locktable.Exclusive) }, func() error { h.Recovered(); return nil },
		} {
			wg.Go(func() {
				if err := f(); err != nil && !errors.Is(err, locktable.ErrNotHeld) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if yes, err := ts[1].ChangedSince(ctx, tok, "b"); yes || err != nil {
		t.Error(yes, err)
	}
	must(t, guard.Unlock())
	h, err := n.Lock(ctx, locktable.Exclusive)
	must(t, err)
	wg.Go(ts[0].Close)
	wg.Go(func() {
		if err := h.Unlock(); err != nil && !errors.Is(err, locktable.ErrClosed) {
			t.Error(err)
		}
	})
	wg.Wait()
	must(t, lock(t, ts[1], ctx, locktable.Exclusive, "a").Unlock())
}
