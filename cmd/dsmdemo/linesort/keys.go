package linesort

import "math/bits"

// fewKeys are sorted by insertion.
const fewKeys = 16

// sortKeys puts entries in the order of their keys. It is a quicksort whose partition has no branch to mispredict,
// where others spend most of their time. Equal keys are done with at once; too many bad pivots end in a heapsort.
func sortKeys(a []Entry) { quickSort(a, 2*bits.Len(uint(len(a)))) }

func quickSort(a []Entry, limit int) {
	for ; len(a) > fewKeys; limit-- {
		if limit == 0 {
			heapSort(a)
			return
		}
		p := pivot(a)
		below := partition(a, p)
		left, right := a[:below], a[below:]
		if below < len(a)/16 { // perhaps since many equal the pivot: they are done
			equal := len(right)
			if p < ^uint64(0) {
				equal = partition(right, p+1)
			}
			right = right[equal:]
		}
		if len(left) > len(right) {
			left, right = right, left
		}
		quickSort(left, limit-1)
		a = right
	}
	for i := 1; i < len(a); i++ {
		e, j := a[i], i
		for ; j > 0 && a[j-1].key > e.key; j-- {
			a[j] = a[j-1]
		}
		a[j] = e
	}
}

// partition brings the keys below p to the front and counts them.
func partition(a []Entry, p uint64) (below int) {
	for i := range a {
		e := a[i]
		a[i] = a[below]
		a[below] = e
		is := 0
		if e.key < p { // compiles to a SETcc
			is = 1
		}
		below += is
	}
	return below
}

// pivot returns the median of 3 keys, or of 3 such medians.
func pivot(a []Entry) uint64 {
	at := func(i int) uint64 { return a[len(a)*i/16].key }
	if len(a) < 128 {
		return median(at(4), at(8), at(12))
	}
	return median(median(at(1), at(3), at(5)), median(at(6), at(8), at(10)), median(at(11), at(13), at(15)))
}

func median(a, b, c uint64) uint64 { return max(min(a, b), min(max(a, b), c)) }

func heapSort(a []Entry) {
	for i := len(a)/2 - 1; i >= 0; i-- {
		sift(a, i)
	}
	for n := len(a) - 1; n > 0; n-- {
		a[0], a[n] = a[n], a[0]
		sift(a[:n], 0)
	}
}

func sift(a []Entry, i int) {
	for {
		c := 2*i + 1
		if c >= len(a) {
			return
		}
		if c+1 < len(a) && a[c+1].key > a[c].key {
			c++
		}
		if a[i].key >= a[c].key {
			return
		}
		a[i], a[c] = a[c], a[i]
		i = c
	}
}
