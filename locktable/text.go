package locktable

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"unicode"
)

func loadLE(b [8]byte) uint64 { return binary.LittleEndian.Uint64(b[:]) }

func appendLE(b []byte, w uint64) []byte { return binary.LittleEndian.AppendUint64(b, w) }

// clean makes text that others have written fit for a terminal.
func clean(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b), ""))
}

// storeText stores as much of a text as there is room for.
func storeText(words []atomic.Uint64, text string) {
	var b [8]byte
	for i := range words {
		clear(b[:])
		n := copy(b[:], text)
		text = text[n:]
		words[i].Store(loadLE(b))
	}
}

// loadText returns the text that storeText has stored.
func loadText(words []atomic.Uint64) string {
	b := make([]byte, 0, 8*len(words))
	for i := range words {
		b = appendLE(b, words[i].Load())
	}
	return clean(b)
}

func padText(text string) []byte {
	b := make([]byte, noteBytes)
	copy(b, text)
	return b
}
