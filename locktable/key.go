package locktable

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/godsm/godsm/internal/hashing"
)

const (
	// MaxParts is how many parts a path has at most.
	MaxParts = 4
	// MaxPart is how long a part is at most.
	MaxPart = 255
)

// A path is encoded part by part: the length and the bytes; or digestPart and the 32 bytes of a digest that is written
// as "sha256:" and 64 lower-case hexadecimal digits. The encoding of a parent is a prefix.
const (
	digestPart   = 0
	digestPrefix = "sha256:"
	digestBytes  = 32
)

// key is an encoded path, and where the parts end.
type key struct {
	b    []byte
	ends [MaxParts]int
	n    int
}

// encode appends the encoding of a path to b.
func encode(b []byte, path []string) (k key, err error) {
	if len(path) < 1 || len(path) > MaxParts {
		return k, invalid("a path of %d parts: it has 1 to %d", len(path), MaxParts)
	}
	for i, part := range path {
		if len(part) < 1 || len(part) > MaxPart {
			return k, invalid("part %d of the path has %d bytes: it has 1 to %d", i+1, len(part), MaxPart)
		}
		if n := len(b); len(part) == len(digestPrefix)+2*digestBytes && part[:len(digestPrefix)] == digestPrefix {
			if b = unhex(append(b, digestPart), part[len(digestPrefix):]); len(b) == n+1+digestBytes {
				k.ends[i] = len(b)
				continue
			}
			b = b[:n]
		}
		b = append(append(b, byte(len(part))), part...)
		k.ends[i] = len(b)
	}
	k.b, k.n = b, len(path)
	return k, nil
}

// unhex appends what the lower-case digits mean, eight at a time, or less if they are none. A digit's value is its low
// four bits, and 9 more if it is a letter; what has the same value and is another byte is no digit.
func unhex(b []byte, digits string) []byte {
	const each = 0x0101_0101_0101_0101
	for ; len(digits) >= 8; digits = digits[8:] {
		x := uint64(digits[0]) | uint64(digits[1])<<8 | uint64(digits[2])<<16 | uint64(digits[3])<<24 |
			uint64(digits[4])<<32 | uint64(digits[5])<<40 | uint64(digits[6])<<48 | uint64(digits[7])<<56
		v := x&(0x0f*each) + x>>6&each*9
		letter := (v + 6*each) >> 4 & each
		if v&(0xf0*each) != 0 || 0x30*each+v+39*letter != x {
			return b
		}
		v = (v<<4 | v>>8) & 0x00ff_00ff_00ff_00ff
		v = (v | v>>8) & 0x0000_ffff_0000_ffff
		b = binary.LittleEndian.AppendUint32(b, uint32(v|v>>16))
	}
	return b
}

// parent returns the key of the first n parts.
func (k key) parent(n int) key { return key{b: k.b[:k.ends[n-1]], ends: k.ends, n: n} }

// kept returns the same key with bytes of its own.
func (k key) kept() key { k.b = append([]byte(nil), k.b...); return k }

// within reports whether k is below o.
func (k key) within(o key) bool { return k.n > o.n && string(k.b[:k.ends[o.n-1]]) == string(o.b) }

func (k key) String() string { return strings.Join(k.path(), "/") }

// path undoes encode.
func (k key) path() []string { p, _ := decode(k.b); return p }

// decode returns the path of an encoding, and whether it is one.
func decode(b []byte) (path []string, ok bool) {
	for len(b) > 0 && len(path) < MaxParts {
		n := int(b[0])
		digest := n == digestPart
		if digest {
			n = digestBytes
		}
		if len(b) < 1+n {
			return path, false
		}
		part := string(b[1 : 1+n])
		if digest {
			part = digestPrefix + hex.EncodeToString(b[1:1+n])
		}
		path, b = append(path, part), b[1+n:]
	}
	return path, len(b) == 0 && len(path) > 0
}

// hash returns the hash of a name's bytes.
func hash(b []byte, seed uint64) uint64 { return hashing.Bytes(b, seed, seed) }

// keyOf returns what a record has of the head that it belongs to.
func keyOf(part int, n uint32) uint64 { return uint64(part)<<32 | uint64(n) }
