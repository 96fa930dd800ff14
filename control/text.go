package control

import (
	"encoding/binary"
	"sync/atomic"
	"unicode/utf8"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// text is up to 32 bytes of UTF-8, filled up with zeros, that can be stored and loaded without tearing a word. It has no
// seal: a reader that comes between two stores finds parts of two names. It is for people alone.
type text [4]atomic.Uint64

// store stores the words of a name, for the only writer of the text.
func (t *text) store(words *[4]uint64) {
	for i := range t {
		ordered.Store64(&t[i], words[i])
	}
}

// textWords packs a name into the words of a text. A longer one is cut before the rune that does not fit.
func textWords(s string) (words [4]uint64) {
	var b [32]byte
	for len(s) > len(b) {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	copy(b[:], s)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return words
}

// load returns the name in the text. Its bytes are whatever the words hold, which need not be UTF-8.
func (t *text) load() string { return textOf(t.words()) }

// words loads each word once.
func (t *text) words() (words [4]uint64) {
	for i := range t {
		words[i] = t[i].Load()
	}
	return words
}

// textOf undoes textWords.
func textOf(words [4]uint64) string {
	var b [32]byte
	for i, w := range words {
		binary.NativeEndian.PutUint64(b[8*i:], w)
	}
	return textBeforeZero(b[:])
}

// textBeforeZero returns b up to its first zero byte.
func textBeforeZero(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
