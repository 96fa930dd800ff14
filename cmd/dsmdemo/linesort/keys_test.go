package linesort

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSortKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const top = ^uint64(0)
	for name, key := range map[string]func(i int) uint64{
		"random":      func(int) uint64 { return r.Uint64() },
		"few":         func(int) uint64 { return r.Uint64N(4) },
		"the highest": func(int) uint64 { return top - r.Uint64N(2) },
		"all highest": func(int) uint64 { return top },
		"ascending":   func(i int) uint64 { return uint64(i) },
		"descending":  func(i int) uint64 { return top - uint64(i) },
		"pipes":       func(i int) uint64 { return min(uint64(i), uint64(5000-i)) },
	} {
		for _, n := range []int{0, 1, 2, 16, 17, 100, 127, 128, 5000} {
			a := make([]Entry, n)
			for i := range a {
				a[i] = Entry{key: key(i), ref: ref(i)}
			}
			for how, sort := range map[string]func([]Entry){
				"quick":      sortKeys,
				"heap":       heapSort,
				"quick,heap": func(a []Entry) { quickSort(a, 1) }, // as after pivots that go wrong
			} {
				b := slices.Clone(a)
				sort(b)
				if !slices.IsSortedFunc(b, func(x, y Entry) int { return cmp.Compare(x.key, y.key) }) {
					t.Errorf("%s: %d keys, %s: not sorted", how, n, name)
				}
				seen := make([]bool, n)
				for _, e := range b {
					if seen[e.ref] || a[e.ref].key != e.key {
						t.Fatalf("%s: %d keys, %s: not the same entries", how, n, name)
					}
					seen[e.ref] = true
				}
			}
		}
	}
}
