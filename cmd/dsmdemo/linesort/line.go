package linesort

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// ref says where in the text a line is: its offset << 16 | its length. A length of 65535 or more is 65535, and the
// line's end is the next newline from there. Refs come out of shared memory: what is outside the text reads as
// if the text ended there.
type ref uint64

const (
	lenBits = 16
	long    = 1<<lenBits - 1
	maxText = 1 << (64 - lenBits)
)

func newRef(off, n int) ref { return ref(off)<<lenBits | ref(min(n, long)) }

func (r ref) off() int { return int(r >> lenBits) }

// size returns the line's length in bytes, without the newline, or long.
func (r ref) size() int { return int(r & long) }

// from returns the text from byte depth of the line on, past the line's end.
func (r ref) from(text []byte, depth int) []byte {
	if at := r.off() + depth; uint(at) < uint(len(text)) {
		return text[at:]
	}
	return nil
}

// line returns the line without its newline, and false if the text has no such line.
func (r ref) line(text []byte) ([]byte, bool) {
	b, n := r.from(text, 0), r.size()
	if n == long {
		k := bytes.IndexByte(b[min(long, len(b)):], '\n')
		if k < 0 {
			return nil, false
		}
		n += k
	}
	if n >= len(b) {
		return nil, false
	}
	return b[:n], true
}

// load returns the line's 8 bytes from depth on, big-endian, zeros after its end. The line has depth bytes or more.
func (r ref) load(text []byte, depth int) uint64 {
	var w uint64
	if b := r.from(text, depth); len(b) >= 8 {
		w = binary.LittleEndian.Uint64(b)
	} else {
		var last [8]byte
		copy(last[:], b)
		w = binary.LittleEndian.Uint64(last[:])
	}
	n := r.size() - depth
	if n < 8 && r.size() == long {
		n = newline(w)
	}
	return first(w, n)
}

// first makes a key of the first n of 8 bytes that were loaded little-endian.
func first(w uint64, n int) uint64 { return bits.ReverseBytes64(w) &^ (^uint64(0) >> uint(8*n)) }

// newline finds the first newline in 8 bytes that were loaded little-endian; 8 if there is none.
func newline(w uint64) int {
	const ones = 0x0101010101010101
	x := w ^ '\n'*ones
	return bits.TrailingZeros64((x-ones)&^x&(ones<<7)) >> 3
}

// ended reports whether the line has no more than depth bytes, and how many then. The line has depth-8 bytes or more.
func (r ref) ended(text []byte, depth int) (n int, ok bool) {
	if n = r.size(); n < long || depth < long {
		return n, n <= depth
	}
	b := r.from(text, depth-8)
	if n = bytes.IndexByte(b[:min(9, len(b))], '\n'); n < 0 && len(b) < 9 { // no such line: let it end with the text
		n = len(b)
	}
	return depth - 8 + n, n >= 0
}

// compare orders two lines, which agree in depth bytes, as bytes.Compare does.
func compare(text []byte, a, b ref, depth int) int {
	if a.size() < long && b.size() < long {
		return bytes.Compare(a.rest(text, depth), b.rest(text, depth))
	}
	for {
		// The lines may differ long before they end: don't look for an end until it is near.
		const step = 4096
		x, y := a.piece(text, depth, step), b.piece(text, depth, step)
		if c := bytes.Compare(x, y); c != 0 || len(x) < step {
			return c
		}
		depth += step
	}
}

// rest returns the line's bytes from depth on, and what follows if the line is long.
func (r ref) rest(text []byte, depth int) []byte {
	b := r.from(text, depth)
	if n := r.size() - depth; uint(n) < uint(len(b)) && r.size() < long {
		b = b[:n]
	}
	return b
}

// piece returns the line's bytes from depth on, at most n of them.
func (r ref) piece(text []byte, depth, n int) []byte {
	b := r.rest(text, depth)
	b = b[:min(n, len(b))]
	if r.size() == long {
		if k := bytes.IndexByte(b, '\n'); k >= 0 {
			b = b[:k]
		}
	}
	return b
}

// common counts the bytes that a and b begin with both.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; n-i >= 8; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)>>3
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
