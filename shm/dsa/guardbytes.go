package dsa

import (
	"encoding/binary"
	"fmt"
)

// In checked mode the last 8 bytes of a block hold, mixed, the size of its object (bits 0-47) and the block's
// generation (48-63), and those between the object and them a pattern. The object's Pointer has the generation in the
// bits that otherwise say what the block leaves unused. Each object that gets the block has the next generation: so a
// Pointer that was kept over Free is told from that of the block's next object, but for every 65,536th.
//
// The bytes of a block behind its object are its guard bytes. They show a write that ran past the object's end. They do not
// show a read, nor a write that went only to bytes beyond them.
const (
	// filler is the pattern, and poison what a freed object is overwritten with.
	filler = 0xa5
	poison = 0xdb
	// mixer keeps zeros, and small numbers, from looking like a trailer.
	mixer = 0x7ea1_5bad_f00d_c0de

	generationShift = 48
	sizeMask        = 1<<generationShift - 1
)

// guardTrailer returns the last 8 bytes of a block, without the mixer. They are in the order of little-endian bytes, so what
// a program writes past the object meets the object's size first.
func guardTrailer(block []byte) uint64 {
	return binary.LittleEndian.Uint64(block[len(block)-8:]) ^ mixer
}

// writeGuardBytes writes the guard bytes behind a new object of n bytes, and returns its generation: the next one after that of the
// block's last object, or any in a block that had none. The block has at least 8 bytes more than the object. Only the
// session that is about to allocate the block calls it.
func writeGuardBytes(block []byte, n uint64) (generation uint64) {
	generation = (guardTrailer(block)>>generationShift + 1) & (1<<slackBits - 1)
	end := len(block) - 8
	for i := int(n); i < end; i++ {
		block[i] = filler
	}
	binary.LittleEndian.PutUint64(block[end:], (n|generation<<generationShift)^mixer)
	return generation
}

// readGuardBytes returns the size that the guard bytes of a block tell. Guard bytes that were written over are ErrOverrun: a
// size for which the block has no room, or a byte between the object and the trailer that is not the pattern. It looks
// at all guard bytes, so it takes longer the more there are.
func readGuardBytes(block []byte) (n uint64, err error) {
	end := uint64(len(block) - 8)
	if n = guardTrailer(block) & sizeMask; n > end {
		return 0, ErrOverrun
	}
	for _, b := range block[n:end] {
		if b != filler {
			return 0, ErrOverrun
		}
	}
	return n, nil
}

// sizeOf returns the size of the object p in its block, which is allocated. It compares the generation and checks that
// the block has room for the size: so the slice that a caller makes of it ends inside the block. It looks at all
// guard bytes only if another object seems to be there. If those are intact, p was kept too long, which is ErrPointer; if not, a
// program wrote past an object, which is ErrOverrun.
func sizeOf(p Pointer, block []byte) (n uint64, err error) {
	t := guardTrailer(block)
	if n = t & sizeMask; t>>generationShift == p.slack() && n <= uint64(len(block)-8) {
		return n, nil
	}
	if _, err = readGuardBytes(block); err == nil {
		err = ErrPointer
	}
	return 0, fmt.Errorf("dsa: pointer %v: %w", p, err)
}

// checkedSize returns the size of the object p, which is to be freed, after it has checked all guard bytes. Errors are those
// of sizeOf and readGuardBytes; after one the object stays allocated, so that a person can look at it.
func checkedSize(p Pointer, block []byte) (n uint64, err error) {
	if n, err = sizeOf(p, block); err != nil {
		return 0, err
	}
	if _, err := readGuardBytes(block); err != nil {
		return 0, fmt.Errorf("dsa: pointer %v, %d bytes: %w", p, n, err)
	}
	return n, nil
}

// poisonBytes overwrites the bytes of an object that is freed, so that a program which still reads them finds nonsense at
// once.
func poisonBytes(b []byte) {
	for i := range b {
		b[i] = poison
	}
}
