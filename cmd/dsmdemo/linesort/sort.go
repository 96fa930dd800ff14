package linesort

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	smallRun  = 4
	smallKeys = 20
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

var Gallop = 64

func deepen(text []byte, run []Entry, depth int) {
	run, depth = reload(text, run, depth)
	sortAt(text, run, depth)
}

// skip: lines of the run agree in 8 bytes from depth; how many more do they agree in.
func skip(text []byte, run []Entry, depth int) int {
	known := 8
	if len(run) < Gallop {
		return known
	}
	for step := 64; ; step *= 2 {
		o := int(run[0].Ref>>lenBits) + depth
		first := text[o:min(len(text), o+step)]
		if k := bytes.IndexByte(first, '\n'); k >= 0 {
			first = first[:k]
		}
		for _, e := range [2]Entry{run[len(run)-1], run[len(run)/2]} {
			o := int(e.Ref>>lenBits) + depth
			first = first[:common(first, text[o:])]
		}
		if len(first) < known + 8 {
			return known
		}
		for i := range run {
			o := int(run[i].Ref>>lenBits) + depth
			if o+len(first) > len(text) || string(text[o:o+len(first)]) != string(first) {
				return known
			}
		}
		known = len(first)
	}
}

func sortSmall(text []byte, run []Entry, depth int) {
	for i := 1; i < len(run); i++ {
		for j := i; j > 0; j-- {
			c := compare(text, run[j].Ref, run[j-1].Ref, depth)
			if c == 0 {
				run[j].Ref = run[j-1].Ref
			}
			if c >= 0 {
				break
			}
			run[j], run[j-1] = run[j-1], run[j]
		}
	}
}

func compare(text []byte, a, b uint64, depth int) int {
	return bytes.Compare(line(text, a)[depth:], line(text, b)[depth:])
}

// ended says whether the line is at most depth bytes long, and its length then.
func ended(text []byte, r uint64, depth int) (int, bool) {
	n := int(r & long)
	if n == long && depth >= long {
		at := int(r>>lenBits) + depth - 8
		k := bytes.IndexByte(text[at:min(len(text), at+9)], '\n')
		return depth - 8 + k, k >= 0
	}
	return n, n <= depth
}

// reload takes a run of equal keys at depth, sets aside the ended lines and
// loads the next keys of the others.
func reload(text []byte, run []Entry, depth int) ([]Entry, int) {
	depth += skip(text, run, depth)
	short := 0
	for i := range run {
		r := run[i].Ref
		off := int(r>>lenBits) + depth
		if int(r&long)-depth >= 8 && off+8 <= len(text) {
			run[i].Key = bits.ReverseBytes64(binary.LittleEndian.Uint64(text[off:]))
			continue
		}
		if n, ok := ended(text, r, depth); ok {
			run[i] = run[short]
			run[short] = Entry{uint64(n), r}
			short++
			continue
		}
		run[i].Key, _ = load(text, r, depth)
	}
	if short > 1 {
		e := run[:short]
		sortKeys(e, 2*bits.Len(uint(short)))
		for i := 1; i < len(e); i++ {
			if e[i].Key == e[i-1].Key {
				e[i].Ref = e[i-1].Ref
			}
		}
	}
	return run[short:], depth
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
