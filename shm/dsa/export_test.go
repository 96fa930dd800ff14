package dsa

import (
	"sync/atomic"
	"unsafe"

	"github.com/godsm/godsm/shm"
)

// Aligned returns zero bytes for an area in place.
func Aligned(n int) []byte { return alignedBytes(n) }

// Beyond is the byte behind b.
func Beyond(b []byte) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), len(b))) }

// Places are the offsets of an area's words in its first segment, but for the locks', whose
// garbling others are tested for and which make one wait.
func Places(b []byte) (list []int) {
	end := int(fitting(firstSegment(4), uint64(len(b))).data)
	for at := 0; at < end; at += 8 {
		if at < 128 || at >= 640 {
			list = append(list, at)
		}
	}
	return list
}

// Get and Put read and write a word.
func Get(b []byte, at int) uint64 { return *wordAt(b, uint64(at)) }

func Put(b []byte, at int, v uint64) { *wordAt(b, uint64(at)) = v }

// MakeDirty leaves what a process leaves that dies with the lock.
func MakeDirty(a *Area) { a.head.dirty.Store(1) }

// BlockSizes are those of all classes.
func BlockSizes() (list []int) {
	for _, c := range classes {
		list = append(list, int(c.size))
	}
	return list
}

// WithSlack is a pointer to the same place.
func WithSlack(p Pointer, n uint64) Pointer { return p.withSlack(n) }

// SameBlock is whether two pointers lead to the same place.
func SameBlock(p, q Pointer) bool { return p.withSlack(0) == q.withSlack(0) }

// Gone makes the row of the segment that p is in say that it went back.
func Gone(a *Area, p Pointer) {
	_, life := rowOf(a.rows[p.row()].word.Load())
	a.rows[p.row()].word.Store(rowWord(rowFree, life))
	a.head.returned.Add(1)
}

// Come undoes Gone.
func Come(a *Area, p Pointer) { a.rows[p.row()].word.Store(rowWord(rowLive, p.life())) }

// SegmentOf is the row of the segment that p is in.
func SegmentOf(p Pointer) int { return p.row() }

// Idle is whether no stripe is locked.
func Idle(a *Area) bool {
	for i := range a.stripes {
		if a.stripes[i].held.Load() != 0 {
			return false
		}
	}
	return true
}

// LockWords are those of an area's two locks.
func LockWords(a *Area) []atomic.Uint64 {
	words, _ := shm.SliceOf[atomic.Uint64](shm.NewRegion(a.maps[0].Load().bytes), 128, 64)
	return words
}

// Swaps has a session store its notes by an exchange, as one does that membarrier can't reach.
func Swaps(a *Area) {
	a.swaps = true
	a.slots[a.slot].order.Store(orderItself)
}

// Unreachable makes a session one whose notes can't be relied on.
func Unreachable(a *Area) { a.slots[a.slot].order.Store(orderNone) }

// SpanSize is that of a chunk's description.
const SpanSize = spanSize

// SpansOf is where the descriptions of chunks begin in a segment of n bytes, the first or another.
func SpansOf(segment, n, slots int) int {
	start := uint64(0)
	if segment == 0 {
		start = firstSegment(slots)
	}
	return int(fitting(start, uint64(n)).spans)
}

// RowsAt is where the rows begin in the first segment.
const RowsAt = headerSize

// Stripes is how many there are.
const Stripes = stripes

// RememberStripe stores a stripe as that which the chunk that p points into had last.
func RememberStripe(a *Area, p Pointer, n int) {
	m := a.maps[p.row()].Load()
	m.stripe[(p.offset()-m.data)>>chunkShift].Store(uint32(n))
}

// DataOf is where the chunks begin in a segment of n bytes, the first or another.
func DataOf(segment, n, slots int) int {
	start := uint64(0)
	if segment == 0 {
		start = firstSegment(slots)
	}
	return int(fitting(start, uint64(n)).data)
}
