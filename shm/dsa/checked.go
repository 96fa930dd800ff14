package dsa

import (
	"encoding/binary"
	"fmt"
)

// In checked mode the last 8 bytes of a block hold the object's size, mixed, and those between
// the object and them a pattern.
const (
	fence  = 0xa5
	poison = 0xdb
	mixer  = 0x7ea1_5bad_f00d_c0de
)

func seal(block []byte, n uint64) {
	end := len(block) - 8
	for i := int(n); i < end; i++ {
		block[i] = fence
	}
	binary.NativeEndian.PutUint64(block[end:], n^mixer)
}

// sealed looks whether the fence still stands behind the object of n bytes.
func sealed(block []byte, n uint64) error {
	end := len(block) - 8
	if got := binary.NativeEndian.Uint64(block[end:]) ^ mixer; got != n {
		return ErrOverrun
	}
	for _, b := range block[n:end] {
		if b != fence {
			return ErrOverrun
		}
	}
	return nil
}

// sizeSealed is the size that the fence of a block speaks of.
func sizeSealed(block []byte) (uint64, error) {
	n := binary.NativeEndian.Uint64(block[len(block)-8:]) ^ mixer
	if n > uint64(len(block)-8) {
		return 0, ErrOverrun
	}
	return n, sealed(block, n)
}

// fenced looks at the fence of a block that is to be freed.
func (a *Area) fenced(p Pointer, r spanRef, cl *class, i int) error {
	off := r.start() + uint64(i)*cl.size
	n := cl.size - p.slack()
	if n > cl.size-8 {
		return notAllocated(p)
	}
	if err := sealed(r.m.bytes[off:off+cl.size], n); err != nil {
		return fmt.Errorf("dsa: pointer %v, %d bytes: %w", p, n, err)
	}
	return nil
}

func spoil(b []byte) {
	for i := range b {
		b[i] = poison
	}
}
