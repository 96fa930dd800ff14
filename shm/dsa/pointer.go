package dsa

import "fmt"

// Pointer names an object of an area, the same in every process, and is never 0. It travels as a number,
// and may lie in shared memory. An object has one Pointer for its whole life, so pointers can be compared.
//
//	bits 0-30   the object's offset in its segment, in units of 16 bytes
//	bits 31-39  the segment's row
//	bits 40-55  how many bytes of its block the object leaves unused: so its size needs no room beside it; in checked
//	            mode the generation of the block
//	bits 56-63  the row's life, never 0: a pointer into a segment that went back is told from one into its successor
type Pointer uint64

const (
	offsetBits, rowBits, slackBits, lifeBits = 31, 9, 16, 8

	rowShift   = offsetBits
	slackShift = rowShift + rowBits
	lifeShift  = slackShift + slackBits
	maxRows    = 1 << rowBits
	maxLife    = 1<<lifeBits - 1
	tagMask    = Pointer(maxLife)<<lifeShift | Pointer(maxRows-1)<<rowShift

	// maxSegment is what a Pointer can reach of one segment.
	maxSegment = 1 << (offsetBits + 4)
)

func tagOf(row, life int) Pointer { return Pointer(life)<<lifeShift | Pointer(row)<<rowShift }

func (p Pointer) offset() uint64 { return uint64(p) & (1<<offsetBits - 1) << 4 }
func (p Pointer) row() int       { return int(p>>rowShift) & (maxRows - 1) }
func (p Pointer) slack() uint64  { return uint64(p>>slackShift) & (1<<slackBits - 1) }
func (p Pointer) life() int      { return int(p >> lifeShift) }

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
