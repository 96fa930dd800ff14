package dshash_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func filled[V any](b testing.TB, n int) (*dsa.Area, *dshash.Table[uint64, V]) {
	a := heap(b, dsa.Options{Initial: 64 << 20})
	tab, err := dshash.Create[uint64, V](a, dshash.Options{})
	must(b, err)
	var v V
	for k := range n {
		must(b, tab.Set(ctx, uint64(k), v))
	}
	return a, tab
}

var sizes = []int{1000, 100_000}

func each(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) { f(b, n) })
	}
}

// keys are n keys in any order, repeated.
func keys(n int) []uint64 {
	r := make([]uint64, 1<<16)
	for i := range r {
		r[i] = rand.Uint64N(uint64(n))
	}
	return r
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64](b, n)
		ks, i := keys(n), 0
		for b.Loop() {
			if _, found, err := tab.Get(ctx, ks[i&(1<<16-1)]); !found || err != nil {
				b.Fatal(found, err)
			}
			i++
		}
	})
}

func BenchmarkGet200(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[[200]byte](b, n)
		ks, i := keys(n), 0
		for b.Loop() {
			if _, found, err := tab.Get(ctx, ks[i&(1<<16-1)]); !found || err != nil {
				b.Fatal(found, err)
			}
			i++
		}
	})
}

func BenchmarkFind(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64](b, n)
		ks, i := keys(n), 0
		for b.Loop() {
			e, found, err := tab.Find(ctx, ks[i&(1<<16-1)])
			if !found || err != nil {
				b.Fatal(found, err)
			}
			e.Release()
			i++
		}
	})
}

func BenchmarkInsertDelete(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64](b, n)
		ks, i := keys(n), 0
		for b.Loop() {
			k := ks[i&(1<<16-1)] + uint64(n)
			if err := tab.Set(ctx, k, 1); err != nil {
				b.Fatal(err)
			}
			if _, err := tab.Delete(ctx, k); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64](b, n)
		ks, i := keys(n), 0
		for b.Loop() {
			e, _, err := tab.FindExclusive(ctx, ks[i&(1<<16-1)])
			if err == nil {
				var v *uint64
				if v, err = e.Update(); err == nil {
					*v++
				}
			}
			if err != nil {
				b.Fatal(err)
			}
			e.Release()
			i++
		}
	})
}
