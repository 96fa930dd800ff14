package linesort

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Count says how many lines end in a range of a text.
func Count(text []byte) int { return bytes.Count(text, []byte{'\n'}) }

// Fill makes entries of the lines that end in text[from:to]; the first of them may begin earlier.
// There must be as many as index has room for, else ErrCorrupt.
func Fill(index []Entry, text []byte, from, to int) error {
	if from < 0 || to < from || to > len(text) || uint64(to) > maxText {
		return fmt.Errorf("bytes %d to %d of a text of %d: %w", from, to, len(text), ErrCorrupt)
	}
	at := 0
	if len(index) > 0 {
		at = bytes.LastIndexByte(text[:from], '\n') + 1
	}
	text = text[:to]
	for i := range index {
		key, n := scan(text, at)
		if n < 0 {
			return fmt.Errorf("%d lines end in bytes %d to %d of the text, not %d: %w",
				i, from, to, len(index), ErrCorrupt)
		}
		index[i] = Entry{key: key, ref: newRef(at, n)}
		at += n + 1
	}
	if bytes.IndexByte(text[max(at, from):], '\n') >= 0 {
		return fmt.Errorf("more than %d lines end in bytes %d to %d of the text: %w", len(index), from, to, ErrCorrupt)
	}
	return nil
}

// scan finds the key and the length of the line at a place; -1 if it has no end.
func scan(text []byte, at int) (key uint64, n int) {
	if at+8 > len(text) {
		if n = bytes.IndexByte(text[at:], '\n'); n < 0 {
			return 0, -1
		}
		return newRef(at, n).load(text, 0), n
	}
	w := binary.LittleEndian.Uint64(text[at:])
	if n = newline(w); n == 8 {
		k := bytes.IndexByte(text[at+8:], '\n')
		if k < 0 {
			return 0, -1
		}
		n += k
	}
	return first(w, n), n
}
