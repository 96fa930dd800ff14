package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/locktable"
)

func TestLockExcludesAndShares(t *testing.T) {
	w := new(world)
	ts := w.tables(t, 3, locktable.Options{})
	for _, path := range [][]string{{"a"}, {"layers", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, {"x", "y", "z", string(make([]byte, 255))}} {
		h := lock(t, ts[0], ctx, locktable.Exclusive, path...)
		if _, err := ts[1].TryLock(ctx, locktable.Shared, path...); !errors.Is(err, locktable.ErrHeld) {
			t.Fatal(err)
		}
		must(t, h.Unlock())
		if err := h.Unlock(); !errors.Is(err, locktable.ErrNotHeld) {
			t.Fatal(err)
		}
		r := []locktable.Hold{lock(t, ts[0], ctx, locktable.Shared, path...), lock(t, ts[1], ctx, locktable.Shared, path...), lock(t, ts[2], ctx, locktable.Shared, path...)}
		if _, err := ts[1].TryLock(ctx, locktable.Exclusive, path...); !errors.Is(err, locktable.ErrHeld) {
			t.Fatal(err)
		}
		for _, h := range r {
			must(t, h.Unlock())
		}
		h, err := ts[1].TryLock(ctx, locktable.Exclusive, path...)
		must(t, err)
		must(t, h.Unlock())
	}
}

func TestLockWaitsUntilUnlock(t *testing.T) {
	w := new(world)
	ts := w.tables(t, 2, locktable.Options{})
	h := lock(t, ts[0], ctx, locktable.Exclusive, "a")
	got := make(chan error, 1)
	go func() {
		h, err := ts[1].Lock(ctx, locktable.Exclusive, "a")
		if err == nil {
			err = h.Unlock()
		}
		got <- err
	}()
	for len(collect(ts[0].Waiters("a"))) == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-got:
		t.Fatal("in beside the holder", err)
	default:
	}
	must(t, h.Unlock())
	must(t, <-got)
}

func collect[T any](seq func(func(T) bool)) (list []T) {
	for x := range seq {
		list = append(list, x)
	}
	return list
}

// TestHammer has goroutines of several sessions lock names in all modes: no two are in that exclude each other.
func TestHammer(t *testing.T) {
	w := new(world)
	ts := w.tables(t, 4, locktable.Options{})
	const names = 3
	var in [names][2]atomic.Int32 // readers, writers
	var wg sync.WaitGroup
	var total atomic.Int64
	stop := time.Now().Add(1500 * time.Millisecond)
	for g := range 12 {
		x := ts[g%4]
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := g; time.Now().Before(stop); n++ {
				k := n % names
				m := locktable.Shared
				if n%4 == 0 {
					m = locktable.Exclusive
				}
				c, cancel := ctx, func() {}
				if n%7 == 0 {
					c, cancel = context.WithTimeout(ctx, time.Duration(n%5)*100*time.Microsecond)
				}
				h, err := x.Lock(c, m, fmt.Sprint("name", k))
				cancel()
				if err != nil {
					if c.Err() == nil {
						t.Error(err)
						return
					}
					continue
				}
				total.Add(1)
				if m == locktable.Exclusive {
					if in[k][1].Add(1) != 1 || in[k][0].Load() != 0 {
						t.Error("a writer is in beside others")
					}
					in[k][1].Add(-1)
				} else {
					in[k][0].Add(1)
					if in[k][1].Load() != 0 {
						t.Error("a reader is in beside a writer")
					}
					in[k][0].Add(-1)
				}
				if err := h.Unlock(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	for i := range collect(ts[0].List()) {
		t.Error(i)
	}
	t.Logf("%d locks", total.Load())
}
