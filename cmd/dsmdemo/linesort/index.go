package linesort

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	ones     = 0x0101010101010101
	highs    = 0x8080808080808080
	newlines = '\n' * ones
)

// newline finds the first newline in 8 bytes, loaded little-endian; 8 if none.
func newline(w uint64) int {
	x := w ^ newlines
	return bits.TrailingZeros64((x-ones)&^x&highs) >> 3
}

func Count(text []byte) int { return bytes.Count(text, []byte{'\n'}) }

func Fill(index []Entry, text []byte, from, to int) (n int) {
	at := bytes.LastIndexByte(text[:from], '\n') + 1
	for n < len(index) && at < to {
		var key uint64
		length := 0
		if at+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[at:])
			length = newline(w)
			key = bits.ReverseBytes64(w)
		} else {
			for i := 0; i < 8 && at+i < len(text); i++ {
				key |= uint64(text[at+i]) << (56 - 8*i)
			}
			length = newline(bits.ReverseBytes64(key))
		}
		if length < 8 {
			key &= ^(^uint64(0) >> (8 * length))
		} else {
			k := bytes.IndexByte(text[at+8:], '\n')
			if k < 0 {
				return n
			}
			length += k
		}
		if at+length >= to {
			return n
		}
		index[n] = Entry{key, ref(at, length)}
		n++
		at += length + 1
	}
	return n
}
