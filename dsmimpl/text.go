package dsmimpl

import (
	"encoding/binary"
	"strings"

	"github.com/google/uuid"
)

// LifeText returns the 12 characters for a life that begin its objects' names.
func LifeText(life uuid.UUID) string { return Object{Life: life}.Name()[:generationAt] }

// ParseLifeText undoes LifeText, as far as that bears the life: what is returned has the same ShortID.
func ParseLifeText(text string) (life uuid.UUID, ok bool) {
	short, ok := parseText(text)
	binary.BigEndian.PutUint64(life[8:], short)
	return life, ok && len(text) == generationAt
}

// HandleText returns the 13 characters for a handle that end its object's name.
func HandleText(h uint64) string {
	var b [handleTextLen]byte
	putText(b[:], h)
	return string(b[:])
}

// ParseHandleText undoes HandleText; letters may be of either case.
func ParseHandleText(s string) (uint64, bool) {
	lower := strings.ToLower(s)
	if len(s) != handleTextLen || len(lower) != handleTextLen { // what is not ASCII may change its length
		return 0, false
	}
	return parseText(lower)
}

func putText(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = alphabet[v&31]
		v >>= 5
	}
}

func parseText(s string) (v uint64, ok bool) {
	for i := range len(s) {
		d := strings.IndexByte(alphabet, s[i])
		if d < 0 || v > 1<<59-1 {
			return 0, false
		}
		v = v<<5 | uint64(d)
	}
	return v, true
}
