// Package tape lets a fuzzer write programs: its bytes are read one number after the other, and
// each says what the test does next.
package tape

import "encoding/binary"

// Tape is what is left to read. When it is used up, all numbers are 0.
type Tape struct{ b []byte }

// New returns the tape of a fuzzer's bytes.
func New(b []byte) *Tape { return &Tape{b} }

// More reports whether there is anything left.
func (t *Tape) More() bool { return len(t.b) > 0 }

// Below takes a byte and makes a number from 0 to n-1 of it; n is at most 256.
func (t *Tape) Below(n int) int { return int(t.take(1)) % n }

// Word takes eight bytes.
func (t *Tape) Word() uint64 { return t.take(8) }

func (t *Tape) take(n int) uint64 {
	var b [8]byte
	n = copy(b[:n], t.b)
	t.b = t.b[n:]
	return binary.LittleEndian.Uint64(b[:])
}

// Seed adds n tapes of so many bytes to a fuzz target, so that an ordinary run of it tries something.
func Seed(f interface{ Add(args ...any) }, n byte, length int) {
	for seed := range n {
		b := make([]byte, length)
		for i := range b {
			b[i] = byte(i)*(seed*2+1) ^ byte(i>>3)*seed
		}
		f.Add(b)
	}
}
