package linesort

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	smallRun  = 8
	smallKeys = 16
)

func Sort(text []byte, part []Entry) {
	sortAt(text, part, 0)
	end := uint64(0)
	for i := range part {
		e := &part[i]
		n := int(e.Ref & long)
		if n == long {
			n = length(text, e.Ref)
		}
		end += uint64(n) + 1
		e.Key = end
	}
}

func length(text []byte, r uint64) int {
	n := int(r & long)
	if n == long {
		off := int(r >> lenBits)
		k := bytes.IndexByte(text[off+long:], '\n')
		n += k
	}
	return n
}

func line(text []byte, r uint64) []byte {
	off := int(r >> lenBits)
	return text[off : off+length(text, r)]
}

// load returns key at depth and how many bytes rem (8 for 8 or more).
func load(text []byte, r uint64, depth int) (key uint64, rem int) {
	off := int(r>>lenBits) + depth
	if off+8 <= len(text) {
		w := binary.LittleEndian.Uint64(text[off:])
		rem = int(r&long) - depth
		if rem >= 8 {
			return bits.ReverseBytes64(w), rem
		}
		if r&long == long {
			rem = newline(w)
		}
		return bits.ReverseBytes64(w) & ^(^uint64(0) >> (8 * uint(rem))), rem
	}
	return loadTail(text, off)
}

func loadTail(text []byte, off int) (key uint64, rem int) {
	for rem = 0; off+rem < len(text) && text[off+rem] != '\n'; rem++ {
		key |= uint64(text[off+rem]) << (56 - 8*rem)
	}
	return key, rem
}

// sortAt sorts entries whose lines agree in depth bytes; keys are loaded at depth.
func sortAt(text []byte, a []Entry, depth int) {
	for {
		sortKeys(a, 2*bits.Len(uint(len(a))))
		var largest []Entry
		for lo := 0; lo < len(a); {
			key := a[lo].Key
			hi := lo + 1
			for hi < len(a) && a[hi].Key == key {
				hi++
			}
			if hi-lo > 1 {
				run := a[lo:hi]
				if len(run) <= smallRun {
					sortSmall(text, run, depth)
				} else if len(run) > len(largest) {
					run, largest = largest, run
					if len(run) > 0 {
						deepen(text, run, depth)
					}
				} else {
					deepen(text, run, depth)
				}
			}
			lo = hi
		}
		if len(largest) == 0 {
			return
		}
		a, depth = reload(text, largest, depth)
	}
}

func deepen(text []byte, run []Entry, depth int) {
	run, depth = reload(text, run, depth)
	sortAt(text, run, depth)
}

func sortSmall(text []byte, run []Entry, depth int) {
	for i := 1; i < len(run); i++ {
		for j := i; j > 0 && compare(text, run[j].Ref, run[j-1].Ref, depth) < 0; j-- {
			run[j], run[j-1] = run[j-1], run[j]
		}
	}
}

func compare(text []byte, a, b uint64, depth int) int {
	return bytes.Compare(line(text, a)[depth:], line(text, b)[depth:])
}

// reload takes a run of equal keys at depth, sets aside the ended lines and
// loads the next keys of the others.
func reload(text []byte, run []Entry, depth int) ([]Entry, int) {
	ended := 0
	first, differ := run[0].Ref, uint64(0)
	same := false
	next := depth + 8
	for i := range run {
		e := run[i]
		n := int(e.Ref & long)
		rem := n - depth
		if n == long && next >= long-16 {
			_, rem = load(text, e.Ref, depth)
			if rem == 8 {
				rem = 9
			}
		}
		if rem <= 8 {
			e.Key = uint64(rem)
			run[i] = run[ended]
			run[ended] = e
			ended++
			continue
		}
		off := int(e.Ref>>lenBits) + next
		if rem < 16 || off+8 > len(text) {
			run[i].Key, _ = load(text, e.Ref, next)
			continue
		}
		run[i].Key = bits.ReverseBytes64(binary.LittleEndian.Uint64(text[off:]))
	}
	_ = first
	_ = differ
	_ = same
	if ended > 1 {
		sortKeys(run[:ended], 2*bits.Len(uint(ended)))
	}
	return run[ended:], next
}

func sortKeys(a []Entry, limit int) {
	for len(a) > smallKeys {
		if limit == 0 {
			heapKeys(a)
			return
		}
		limit--
		pivot := pivotOf(a)
		lt := partition(a, pivot)
		if lt == 0 || lt < len(a)/16 {
			// Many keys may equal the pivot
			le := partitionLE(a[lt:], pivot)
			rest := a[lt+le:]
			sortKeys(a[:lt], limit)
			a = rest
			continue
		}
		l, r := a[:lt], a[lt:]
		if len(l) < len(r) {
			sortKeys(l, limit)
			a = r
		} else {
			sortKeys(r, limit)
			a = l
		}
	}
	for i := 1; i < len(a); i++ {
		e := a[i]
		j := i
		for ; j > 0 && a[j-1].Key > e.Key; j-- {
			a[j] = a[j-1]
		}
		a[j] = e
	}
}

func median(a, b, c uint64) uint64 {
	return max(min(a, b), min(max(a, b), c))
}

func pivotOf(a []Entry) uint64 {
	n := len(a)
	m := n / 2
	if n < 128 {
		return median(a[n/4].Key, a[m].Key, a[n-n/4].Key)
	}
	s := n / 8
	return median(median(a[s].Key, a[s+1].Key, a[2*s].Key), median(a[3*s].Key, a[m].Key, a[5*s].Key), median(a[6*s].Key, a[7*s].Key, a[n-1].Key))
}

func partition(a []Entry, pivot uint64) int {
	j := 0
	for i := range a {
		e := a[i]
		a[i] = a[j]
		a[j] = e
		t := 0
		if e.Key < pivot {
			t = 1
		}
		j += t
	}
	return j
}

func partitionLE(a []Entry, pivot uint64) int {
	j := 0
	for i := range a {
		e := a[i]
		a[i] = a[j]
		a[j] = e
		t := 0
		if e.Key <= pivot {
			t = 1
		}
		j += t
	}
	return j
}

func heapKeys(a []Entry) {
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
		if c+1 < len(a) && a[c+1].Key > a[c].Key {
			c++
		}
		if a[i].Key >= a[c].Key {
			return
		}
		a[i], a[c] = a[c], a[i]
		i = c
	}
}
