package locktable

import (
	"bytes"
	"encoding/binary"
	"strings"
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
