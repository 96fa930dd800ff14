package dshash_test

import (
	"fmt"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func filled[K comparable, V any](b testing.TB, n int, set func(k *K, n uint64)) (*dsa.Area, *dshash.Table[K, V]) {
	a := heap(b, dsa.Options{Initial: 64 << 20})
	tab, err := dshash.Create[K, V](a, dshash.Options{})
	must(b, err)
	var k K
	var v V
	for i := range n {
		set(&k, uint64(i))
		must(b, tab.Set(ctx, k, v))
	}
	return a, tab
}

func number(k *uint64, n uint64) { *k = n }

func pair(k *[2]uint64, n uint64) { *k = [2]uint64{n, ^n} }

var sizes = []int{1000, 100_000}

func each(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) { f(b, n) })
	}
}

// dice gives numbers in any order.
type dice uint64

func (d *dice) below(n int) uint64 {
	*d ^= *d << 13
	*d ^= *d >> 7
	*d ^= *d << 17
	return uint64(*d>>32) * uint64(n) >> 32
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		for b.Loop() {
			if _, found, err := tab.Get(ctx, d.below(n)); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
}

func BenchmarkGet200(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[[2]uint64, [200]byte](b, n, pair)
		d := dice(1)
		for b.Loop() {
			k := d.below(n)
			if _, found, err := tab.Get(ctx, [2]uint64{k, ^k}); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		for b.Loop() {
			e, found, err := tab.Find(ctx, d.below(n))
			if !found || err != nil {
				b.Fatal(found, err)
			}
			e.Release()
		}
	})
}

func BenchmarkInsertDelete(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		for b.Loop() {
			k := d.below(n) + uint64(n)
			if err := tab.Set(ctx, k, 1); err != nil {
				b.Fatal(err)
			}
			if _, err := tab.Delete(ctx, k); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		_, tab := filled[uint64, uint64](b, n, number)
		d := dice(1)
		for b.Loop() {
			e, _, err := tab.FindExclusive(ctx, d.below(n))
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
		}
	})
}
