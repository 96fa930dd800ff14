package linesort

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Sort puts a filled part of the index in the order of its lines, and notes where in the part's
// output each ends. From then on, identical lines refer to one of them, so that a merge fetches
// its bytes once. Entries that refer to no line are ErrCorrupt.
func Sort(text []byte, part []Entry) error {
	sortAt(text, part, 0)
	end := uint64(0)
	for i := range part {
		r := part[i].ref
		n := r.size()
		if n == long {
			line, _ := r.line(text)
			n = len(line)
		}
		if uint(r.off()+n) >= uint(len(text)) || n < r.size() {
			return fmt.Errorf("entry %d refers to byte %d of a text of %d: %w", i, r.off(), len(text), ErrCorrupt)
		}
		end += uint64(n) + 1
		part[i].key = end
	}
	return nil
}

const (
	fewLines  = 8  // are sorted by insertion
	manyLines = 64 // are worth a look at what else they have in common,
	deep      = 64 // as are lines that had so many bytes in common
)

// sortAt sorts lines that agree in depth bytes and have their keys from there: by the keys first, then every
// run of equal keys by the next 8 bytes. The longest run comes last and without recursion: the others have
// half of the entries at most, so that the stack has no more levels than the number of entries has bits.
func sortAt(text []byte, a []Entry, depth int) {
	for len(a) > 1 {
		sortKeys(a)
		var longest []Entry
		for i := 0; i < len(a); {
			run := a[i:equals(a, i)]
			i += len(run)
			switch {
			case len(run) <= fewLines:
				insert(text, run, depth)
				continue
			case len(run) > len(longest):
				run, longest = longest, run
			}
			if len(run) > 0 {
				run, d := reload(text, run, depth)
				sortAt(text, run, d)
			}
		}
		if len(longest) == 0 {
			return
		}
		a, depth = reload(text, longest, depth)
	}
}

// equals finds the end of the run of equal keys that begins at i.
func equals(a []Entry, i int) int {
	key := a[i].key
	for i++; i < len(a) && a[i].key == key; i++ {
	}
	return i
}

func insert(text []byte, run []Entry, depth int) {
	for i := 1; i < len(run); i++ {
		for j := i; j > 0; j-- {
			c := compare(text, run[j].ref, run[j-1].ref, depth)
			if c == 0 {
				run[j].ref = run[j-1].ref
			}
			if c >= 0 {
				break
			}
			run[j], run[j-1] = run[j-1], run[j]
		}
	}
}

// reload takes a run of equal keys at depth. It puts the lines that have ended by now in front, sorted, and returns the
// others with their next keys and the depth of these.
func reload(text []byte, run []Entry, depth int) ([]Entry, int) {
	depth += agree(text, run, depth)
	ended := 0
	for i := 0; ; i++ {
		if i += loadKeys(text, run[i:], depth); i == len(run) {
			break
		}
		r := run[i].ref
		if n, ok := r.ended(text, depth); ok {
			run[i] = run[ended]
			run[ended] = Entry{key: uint64(n), ref: r}
			ended++
			continue
		}
		run[i].key = r.load(text, depth)
	}
	// Their keys were equal: they can differ by zeros at the end only, hence in length.
	sortKeys(run[:ended])
	for i := 1; i < ended; i++ {
		if run[i].key == run[i-1].key {
			run[i].ref = run[i-1].ref
		}
	}
	return run[ended:], depth
}

// loadKeys loads the keys from depth on, up to the first line that may end before its key does, and says how many it
// loaded. Nearly all of these loads miss the cache: the shorter the loop, the more of them are under way at a time.
func loadKeys(text []byte, run []Entry, depth int) int {
	for i := range run {
		r := run[i].ref
		at := r.off() + depth
		if r.size() < depth+8 || uint(at) >= uint(len(text)) || len(text)-at < 8 {
			return i
		}
		run[i].key = bits.ReverseBytes64(binary.LittleEndian.Uint64(text[at:]))
	}
	return len(run)
}

// agree says in how many bytes from depth on the lines of a run agree at least, which is 8 since
// their keys are equal. A look costs as much as loading keys does, and a success lets the next go
// twice as far: what fails is never much more than what was gained.
func agree(text []byte, run []Entry, depth int) int {
	known := 8
	if len(run) < manyLines && depth < deep {
		return known
	}
	for step := 64; ; step *= 2 {
		head := run[0].ref.piece(text, depth, step)
		for _, e := range [...]Entry{run[len(run)/2], run[len(run)-1]} {
			head = head[:common(head, e.ref.from(text, depth))]
		}
		if len(head) < known+8 {
			return known
		}
		for i := range run {
			b := run[i].ref.from(text, depth)
			if len(b) < len(head) || string(b[:len(head)]) != string(head) {
				return known
			}
		}
		known = len(head)
	}
}
