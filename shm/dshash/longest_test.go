package dshash_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestLongItemsGoBack has items of each length come and go, in every way in which an entry loses its item or does not
// get one: when the last long one is gone, and the area was trimmed, nothing of their memory stays.
func TestLongItemsGoBack(t *testing.T) {
	const limit = 64 << 20
	some := []byte("k")
	set := func(t *testing.T, bs *dshash.Bytes, n int) { must(t, bs.Set(ctx, some, make([]byte, n))) }
	for _, way := range []struct {
		name  string
		leave func(t *testing.T, bs *dshash.Bytes, n int)
	}{
		{"delete", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			found, err := bs.Delete(ctx, some)
			if must(t, err); !found {
				t.Error("not found")
			}
		}},
		{"set a short one", func(t *testing.T, bs *dshash.Bytes, n int) { set(t, bs, n); set(t, bs, 5) }},
		{"update to a short one", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			must(t, bs.Update(ctx, some, func([]byte, bool) ([]byte, error) { return some, nil }))
		}},
		{"delete an entry that is held", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			e, _, err := bs.FindExclusive(ctx, some)
			must(t, err)
			must(t, e.Delete())
			e.Release()
		}},
		{"delete one that has a copy", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			e, _, err := bs.FindExclusive(ctx, some)
			must(t, err)
			_, err = e.Update(n)
			must(t, err)
			must(t, e.Delete())
			e.Release()
		}},
		{"never linked", func(t *testing.T, bs *dshash.Bytes, n int) {
			e, _, err := bs.Insert(ctx, some, n)
			must(t, err)
			must(t, e.Delete())
			e.Release()
		}},
		{"replaced before it is linked", func(t *testing.T, bs *dshash.Bytes, n int) {
			e, _, err := bs.Insert(ctx, some, 5)
			must(t, err)
			_, err = e.Update(n)
			must(t, err)
			_, err = e.Update(5)
			must(t, err)
			e.Release()
		}},
		{"scan", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			for e, err := range bs.Scan(ctx, true) {
				must(t, err)
				if len(e.Value()) == n {
					must(t, e.Delete())
				}
			}
		}},
		{"refused", func(t *testing.T, bs *dshash.Bytes, _ int) { // there is room for a reserve, and none for the item
			if err := bs.Set(ctx, some, make([]byte, limit*5/8)); !errors.Is(err, dsa.ErrLimit) {
				t.Errorf("Set of %d bytes: %v", limit*5/8, err)
			}
		}},
		{"refused beside another", func(t *testing.T, bs *dshash.Bytes, n int) {
			set(t, bs, n)
			if err := bs.Set(ctx, some, make([]byte, limit*5/8)); !errors.Is(err, dsa.ErrLimit) {
				t.Errorf("Set of %d bytes: %v", limit*5/8, err)
			}
			set(t, bs, 5)
		}},
	} {
		for _, partitions := range []int{1, 128} {
			for _, n := range []int{40 << 10, 200_000, 20 << 20} {
				t.Run(fmt.Sprintf("%s/%d/%d", way.name, partitions, n), func(t *testing.T) {
					a := heap(t, dsa.Options{Limit: limit, Keep: -1})
					bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: partitions})
					must(t, err)
					for k := range uint64(60) {
						must(t, bs.Set(ctx, name(k), text(k)))
					}
					must(t, a.Trim(ctx))
					before := stats(t, a)
					way.leave(t, bs, n)
					must(t, a.Trim(ctx))
					gaveBack(t, a, before)
					clean(t, a, 0, bs)
					must(t, bs.Destroy(ctx))
					clean(t, a, 0)
				})
			}
		}
	}
}

// TestLongestItemIsHalf has a value of nearly half of the area's limit set, and set again: the item and the reserve fit
// beside each other, and the second value is written in place.
func TestLongestItemIsHalf(t *testing.T) {
	a := heap(t, dsa.Options{Limit: 64 << 20})
	bs, err := dshash.CreateBytes(a, dshash.Options{})
	must(t, err)
	for _, c := range []byte("ab") {
		must(t, bs.Set(ctx, []byte("k"), bytes.Repeat([]byte{c}, 30<<20)))
		if v, found, err := bs.Get(ctx, []byte("k"), nil); err != nil || !found || len(v) != 30<<20 || v[0] != c {
			t.Errorf("%d bytes, %v, %v", len(v), found, err)
		}
	}
	clean(t, a, 0, bs)
}

func stats(t *testing.T, a *dsa.Area) dsa.Stats {
	t.Helper()
	st, err := a.Stats(ctx)
	must(t, err)
	return st
}

// gaveBack fails unless the area has what it had before, but for a reserve of up to 64 KiB, and segments as long as
// growth makes them, in which that and other small objects may lie.
func gaveBack(t *testing.T, a *dsa.Area, before dsa.Stats) {
	t.Helper()
	if now := stats(t, a); now.Used > before.Used+80<<10 || now.Total > before.Total+16<<20 {
		var text strings.Builder
		_ = a.Dump(ctx, &text)
		t.Fatalf("%d of %d bytes are used, and of %d were %d:\n%s", now.Used, now.Total, before.Total, before.Used, &text)
	}
}

// TestLongValuesGoBack does the same with a table of long values of one size, and with several entries that go one by
// one: as long as one stays, it can be updated in a full area.
func TestLongValuesGoBack(t *testing.T) {
	type value [3 << 18]uint64 // 6 MiB
	a := heap(t, dsa.Options{Keep: -1})
	tab, err := dshash.Create[uint64, value](a, dshash.Options{Partitions: 4})
	must(t, err)
	before := stats(t, a)
	for range 2 {
		for k := range uint64(5) {
			must(t, tab.Update(ctx, k, func(v *value, _ bool) error { v[0] = k; return nil }))
		}
		for k := range uint64(5) {
			give := exhaust(t, a)
			for last := k; last < 5; last++ {
				must(t, tab.Update(ctx, last, func(v *value, existed bool) error {
					if !existed || v[0] != last+k {
						t.Errorf("%d: %v, %d", last, existed, v[0])
					}
					v[0]++
					return nil
				}))
			}
			give()
			_, err := tab.Delete(ctx, k)
			must(t, err)
		}
		must(t, a.Trim(ctx))
		gaveBack(t, a, before)
		clean(t, a, 0, tab)
	}
}

// TestReserveFollowsItems has items of random lengths, most of them long, set, shortened and deleted by two sessions at
// the same time: the reserve has always room for the longest of them, which Verify looks at, and in a full area each of
// them can be set to a value of the same length. In the end all of it goes back.
func TestReserveFollowsItems(t *testing.T) {
	for _, partitions := range []int{1, 16} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			var h dsa.Heap
			a, err := dsa.Create(ctx, &h, self(1), dsa.Options{Keep: -1, Limit: 256 << 20})
			must(t, err)
			b, err := dsa.Attach(ctx, &h, self(2), a.Handle())
			must(t, err)
			one, err := dshash.CreateBytes(a, dshash.Options{Partitions: partitions})
			must(t, err)
			two, err := dshash.AttachBytes(b, one.Handle(), dshash.Options{})
			must(t, err)
			before := stats(t, a)
			rounds := 40
			if testing.Short() {
				rounds = 5
			}
			for round := range uint64(rounds) {
				var wg sync.WaitGroup
				for id, bs := range []*dshash.Bytes{one, two} {
					wg.Go(func() {
						x := round*2 + uint64(id)
						for i := range uint64(60) {
							x = x*6364136223846793005 + 1442695040888963407
							k := name(x >> 33 % 20)
							err := error(nil)
							if x>>60 < 5 {
								_, err = bs.Delete(ctx, k)
							} else {
								err = bs.Set(ctx, k, make([]byte, x>>40%(1<<(12+i%11))))
							}
							if err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				clean(t, a, 0, one)
				if round%8 == 7 {
					give := exhaust(t, a)
					for x, err := range two.All(ctx) {
						must(t, err)
						must(t, one.Set(ctx, x.Key, bytes.Repeat([]byte{1}, len(x.Value))))
					}
					give()
				}
				for k := range uint64(20) { // at the same time, so each finds the reserve's lock taken at times
					wg.Go(func() {
						if _, err := []*dshash.Bytes{one, two}[k%2].Delete(ctx, name(k)); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				must(t, a.Trim(ctx))
				gaveBack(t, a, before)
			}
			clean(t, a, 0, one)
			must(t, b.Detach())
			must(t, a.Detach())
		})
	}
}
