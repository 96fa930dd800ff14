package dsa

import "fmt"

// Pointer names an object of an area, the same in every process, and is never 0. It travels as a number,
// and may lie in shared memory. An object has one Pointer for its whole life, so pointers can be compared.
//
//	bits 0-30   the object's offset in its segment, in units of 16 bytes
//	bits 31-39  the segment's row
//	bits 40-55  how many bytes of its block the object leaves unused, so that its size takes no memory; in checked mode
//	            the generation of the block
//	bits 56-63  the row's life, never 0: so a pointer into a segment that went back differs from one into its successor
//
// A Pointer comes from programs and from shared memory, so every value has to be expected. Its row is always below the
// number of rows, because the bits allow no more; its offset is checked against the segment before it is used.
type Pointer uint64

const (
	offsetBits, rowBits, slackBits, lifeBits = 31, 9, 16, 8

	rowShift   = offsetBits
	slackShift = rowShift + rowBits
	lifeShift  = slackShift + slackBits
	// maxRows is how many segments an area can have at once.
	maxRows = 1 << rowBits
	// maxLife is the last life of a row; the one after it is 1.
	maxLife = 1<<lifeBits - 1
	// tagMask covers row and life: what all pointers into one segment have in common.
	tagMask = Pointer(maxLife)<<lifeShift | Pointer(maxRows-1)<<rowShift

	// maxSegment is how many bytes of one segment a Pointer can reach: 32 GiB.
	maxSegment = 1 << (offsetBits + 4)
)

// tagOf returns what all pointers into the segment of that row and life have in common.
func tagOf(row, life int) Pointer { return Pointer(life)<<lifeShift | Pointer(row)<<rowShift }

// offset returns the object's distance from its segment's start, in bytes, below maxSegment.
func (p Pointer) offset() uint64 { return uint64(p) & (1<<offsetBits - 1) << 4 }

// row returns the number of the segment's row, below maxRows.
func (p Pointer) row() int { return int(p>>rowShift) & (maxRows - 1) }

// slack returns how many bytes of its block the object leaves unused; in checked mode the generation; of an intent,
// what is going on.
func (p Pointer) slack() uint64 { return uint64(p>>slackShift) & (1<<slackBits - 1) }

// life returns the life of the segment's row.
func (p Pointer) life() int { return int(p >> lifeShift) }

// withSlack returns p with another slack, n, which must fit.
func (p Pointer) withSlack(n uint64) Pointer {
	return p&^((1<<slackBits-1)<<slackShift) | Pointer(n)<<slackShift
}

// String shows the segment's row and life, and the offset in it.
func (p Pointer) String() string {
	if p == 0 {
		return "nil"
	}
	return fmt.Sprintf("%d.%d+%#x", p.row(), p.life(), p.offset())
}
