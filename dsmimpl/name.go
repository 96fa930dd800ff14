package dsmimpl

import (
	"encoding/binary"
	"strings"

	"github.com/google/uuid"
)

// Names bear the life, the generation and the handle, so that a process that finds an object can tell whose
// it is without attaching, and random bits, so that no other user can plant one in advance. macOS allows 30
// characters with the leading slash; hence 60 bits of the life, 20 of the generation and all 64 of the handle, five to a character:
//
//	0         12   16           29
//	llllllllllllggggHHHHHHHHHHHHH
const (
	nameLen       = 29
	generationAt  = 12
	handleAt      = 16
	handleTextLen = nameLen - handleAt
)

// No i, l, o, u: a name is read aloud and typed by people after something died.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// Name returns the object's name in any flat namespace: 29 characters, lower-case letters and digits.
func (o Object) Name() string {
	var b [nameLen]byte
	o.putName(&b)
	return string(b[:])
}

// Path joins dir and the object's name, in one allocation.
func (o Object) Path(dir string) string {
	var b strings.Builder
	b.Grow(len(dir) + 1 + nameLen)
	b.WriteString(dir)
	b.WriteByte('/')
	var name [nameLen]byte
	o.putName(&name)
	b.Write(name[:])
	return b.String()
}

func (o Object) putName(b *[nameLen]byte) {
	putText(b[:generationAt], ShortID(o.Life))
	putText(b[generationAt:handleAt], o.Generation)
	putText(b[handleAt:], o.Handle)
}

// ParseName undoes Object.Name. Only 20 bits of the generation and 60 of the life come back, the
// latter as a short id to compare with ShortID. Anything but a whole name of ours is refused.
func ParseName(name string) (shortID, generation, handle uint64, ok bool) {
	if len(name) != nameLen {
		return 0, 0, 0, false
	}
	shortID, ok1 := parseText(name[:generationAt])
	generation, ok2 := parseText(name[generationAt:handleAt])
	handle, ok3 := parseText(name[handleAt:])
	return shortID, generation, handle, ok1 && ok2 && ok3
}

// ShortID returns the 60-bit form of a life that names bear: its last bits, all of them random.
func ShortID(life uuid.UUID) uint64 { return binary.BigEndian.Uint64(life[8:]) & (1<<60 - 1) }

// SameGeneration reports whether two generations are equal as names have them: in their low 20 bits.
func SameGeneration(a, b uint64) bool { return (a^b)&(1<<20-1) == 0 }
