package dsa

import (
	"fmt"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	magic   = 0x3161_7364_6d73_6f67 // "gosmdsa1", in the order of little-endian bytes
	version = 4
)

// header is at the start of an area's segment 0. Rows and sessions follow it. What is not said to
// be written once is written under the lock.
type header struct {
	_        structs.HostLayout
	magic    atomic.Uint64 // last of all by Create
	version  atomic.Uint32
	flags    atomic.Uint32 // written once
	id       atomic.Uint64 // written once; random: segments bear it too
	slots    atomic.Uint32 // written once: how many sessions there is room for
	initial  atomic.Uint32 // written once: chunks of the first segment
	largest  atomic.Uint64 // written once: chunks that growth adds at once, at most
	keep     atomic.Uint64 // written once: bytes of empty segments that stay
	limit    atomic.Uint64 // bytes of all segments; 0: none
	total    atomic.Uint64 // bytes of all live segments; derived from the rows
	returned atomic.Uint64 // counts segments that went back; read without the lock, as a hint to look at the rows
	pinned   atomic.Uint32
	gone     atomic.Uint32 // the last session has left
	dirty    atomic.Uint32 // a session died with the lock: repair before anything else
	next     atomic.Uint32 // the row that the search for a free one begins at
	_        [40]byte
	lock     shmsync.LWLockWord // for all but what a session does with its own spans
	grow     shmsync.LWLockWord // taken before lock, by who adds a segment
	partial  [maxClasses]atomic.Uint64
}

const (
	flagChecked = 1
	flagInPlace = 2 // segment 0 is somebody else's
)

// row is a segment's. Word decides; the numbers below handle and chunks are derived from the segment's spans.
type row struct {
	_       structs.HostLayout
	word    atomic.Uint64 // bits 0-1 the state, 8-15 the life
	handle  atomic.Uint64
	chunks  atomic.Uint32
	free    atomic.Uint32 // chunks
	longest atomic.Uint32 // no free run is longer
	low     atomic.Uint32 // no chunk before it is free
}

// States of a row. Legal moves: free -> coming -> live -> going -> free with the next life. Coming
// and going are seen by others only after a death: who repairs unpins the segment and frees the row.
const (
	rowFree = iota
	rowComing
	rowLive
	rowGoing
)

func rowWord(state, life int) uint64 { return uint64(state) | uint64(life)<<8 }

func rowOf(word uint64) (state, life int) { return int(word & 3), int(word >> 8 & maxLife) }

// stripes is how many goroutines of a session can be in Alloc or Free at once: each class has its
// stripe, and the last is for large objects.
const stripes = 15

// slot is a session's.
type slot struct {
	_     structs.HostLayout
	peer  atomic.Uint64 // incarnation in bits 0-31, row plus one above; 0: free. Written under the lock
	order atomic.Uint32 // how its notes become seen; see take.go. Written with peer
	seen  atomic.Uint32 // the header's returned, its low half, when the session last unmapped what went back
	notes [stripes]note
}

// segment is at the start of a segment (after the sessions in segment 0). Written once. The
// bitmap of chunks, the spans and the chunks follow it.
type segment struct {
	_      structs.HostLayout
	magic  atomic.Uint64
	area   atomic.Uint64
	row    atomic.Uint32
	life   atomic.Uint32
	chunks atomic.Uint32
	_      [36]byte
}

// span describes the chunk of the same number, or the run that begins there.
type span struct {
	_      structs.HostLayout
	state  atomic.Uint64
	class  atomic.Uint32
	chunks atomic.Uint32
	words  [64]pair
	size   atomic.Uint64 // asked for, of a large object
	next   atomic.Uint64 // in the list of its class
	prev   atomic.Uint64
	back   atomic.Uint32 // of a chunk inside a run: how far back its head is
	_      [20]byte
}

// pair says which of 64 blocks are allocated: used and not freed. The span's session writes used, by plain stores; in a span
// that is no session's the holder of the area's lock does. Any session sets bits of freed, and only who may write used
// clears them, after those of used.
type pair struct {
	_     structs.HostLayout
	used  atomic.Uint64
	freed atomic.Uint64
}

const (
	headerSize  = 128 + 512 + 8*maxClasses
	rowSize     = 32
	slotSize    = 256
	segmentSize = 64
	spanSize    = 1088
	pageSize    = 4096
	maxSlots    = 2048
)

// geometry says where in a segment what is.
type geometry struct {
	segment, bitmap, spans, data uint64
	chunks                       int
	size                         uint64
}

// firstSegment returns where the segment header of segment 0 begins.
func firstSegment(slots int) uint64 { return headerSize + maxRows*rowSize + uint64(slots)*slotSize }

func geometryOf(start uint64, chunks int) geometry {
	g := geometry{segment: start, bitmap: start + segmentSize, chunks: chunks}
	g.spans = up(g.bitmap+uint64(wordsFor(chunks))*8, 64)
	g.data = up(g.spans+uint64(chunks)*spanSize, pageSize)
	g.size = g.data + uint64(chunks)<<chunkShift
	return g
}

// fitting returns the geometry with as many chunks as fit into size bytes; none if not even one does.
func fitting(start, size uint64) (g geometry) {
	n := 0
	if size > start {
		n = int((size - start) / (chunkSize + spanSize))
	}
	for g = geometryOf(start, n); n > 0 && g.size > size; g = geometryOf(start, n) {
		n--
	}
	return g
}

func up(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// views are the typed windows on an area's segment 0.
type views struct {
	head  *header
	rows  []row
	slots []slot
}

func view(r shm.Region, slots int) (v views, err error) {
	if v.head, err = shm.At[header](r, 0); err != nil {
		return v, err
	}
	if v.rows, err = shm.SliceOf[row](r, headerSize, maxRows); err != nil {
		return v, err
	}
	v.slots, err = shm.SliceOf[slot](r, headerSize+maxRows*rowSize, slots)
	return v, err
}

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dsa: "+format, args...))
}

func store(w *atomic.Uint64, v uint64) { ordered.Store64(w, v) }
