package dsa

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file holds what lies in shared memory: the structures, in the order in which they follow each other, and the
// arithmetic that finds them. doc/structures.md has the same as tables of offsets, and a test compares the two. A
// change of a field is a change of the version.
//
// Every byte here can have been written by a program that is wrong. So each function loads a word once, checks the
// copy, and uses the copy; the comment of a field says who writes it, and what a reader without the lock may make of
// it.

const (
	// magic marks an area's first segment, and each segment's own header. It reads "gosmdsa1" in the order of
	// little-endian bytes.
	magic = 0x3161_7364_6d73_6f67
	// version is that of all layouts in this file. A program with another one refuses the area with ErrVersion.
	version = 4
)

// header is at the start of an area's segment 0; the rows and the sessions' slots follow it. The area's lock guards
// each field whose comment names nothing else. A field that is "written once" is written by the process that creates
// the area, before it stores magic, and is read without a lock.
type header struct {
	_ structs.HostLayout
	// magic is stored last of all by Create: a process that finds it finds the rest complete.
	magic atomic.Uint64
	// version is written once, and checked before any other field is used.
	version atomic.Uint32
	// flags is written once: flagChecked, flagInPlace.
	flags atomic.Uint32
	// id is written once: a random number that the header of each segment of the area repeats.
	id atomic.Uint64
	// slots is written once: how many sessions the area has room for. A process checks it against maxSlots before it
	// looks for a slot, since the place of everything behind the slots follows from it.
	slots atomic.Uint32
	// initial is written once: how many chunks the first segment has. Growth begins with that many.
	initial atomic.Uint32
	// largest is written once: how many chunks growth adds at once, at most, unless an object needs more.
	largest atomic.Uint64
	// keep is written once: how many bytes of empty segments stay for the next need.
	keep atomic.Uint64
	// limit is how many bytes all segments may have; 0 is no limit. Growth reads it under the lock for growth alone: a
	// limit that is lowered at that moment is exceeded by one segment.
	limit atomic.Uint64
	// total is how many bytes all live segments have. It is derived from the rows. Growth and Total read it without the
	// area's lock. While a session has the lock for growth no other adds a segment, so a total that is stale there is
	// too large, and the segment is smaller than it might be.
	total atomic.Uint64
	// returned counts the segments that went back. Free, Bytes and Current compare it, without a lock, with the count
	// that their session saw last: if they differ, some mapping of this process is of a segment that went back. A stale
	// read delays the unmapping to a later call, and is harmless: the row's life tells a pointer into such a segment.
	returned atomic.Uint64
	// pinned is 1 if the area stays without any session.
	pinned atomic.Uint32
	// gone is 1 from the moment that the last session began to remove the area. It never becomes 0 again.
	gone atomic.Uint32
	// dirty is 1 if what the area's lock guards has to be repaired before it is used: its holder died, met a fault, or
	// found something wrong. The session that repairs stores 0 last.
	dirty atomic.Uint32
	// next is the row at which the search for a free one begins, so that a row is used again as late as possible. It is
	// a hint, taken modulo the number of rows.
	next atomic.Uint32
	_    [40]byte
	// lock is the area's lock.
	lock shmsync.LWLockWord
	// grow is the lock for growth. A session takes it before lock, and holds it while the source makes a segment.
	grow shmsync.LWLockWord
	// partial has, for each class, the first span with room that belongs to no session, as spanRef.ref returns it; 0 is
	// none.
	partial [maxClasses]atomic.Uint64
}

const (
	// flagChecked: each object has guard bytes behind it; see guardbytes.go.
	flagChecked = 1
	// flagInPlace: segment 0 is a region that belongs to the caller of CreateInPlace, and is never unpinned.
	flagInPlace = 2
)

// row describes a segment. All fields are written under the area's lock. Word decides whether the others mean anything,
// and is stored after them.
type row struct {
	_ structs.HostLayout
	// word has the state in bits 0-1, and the row's life in bits 8-15: how many segments the row has had, from 1 to 255
	// and then 1 again. Each process reads it without a lock to see whether a pointer's segment is there. What a stale
	// read lets through the source refuses (the handle is not found), or the life in the segment's own header.
	word atomic.Uint64
	// handle is the segment's name in its source. Processes read it without a lock, after word.
	handle atomic.Uint64
	// chunks is how many chunks the segment has. The segment's header has the same number; where they differ the
	// segment is refused.
	chunks atomic.Uint32
	// free is how many chunks are in no run. It is derived from the spans, as the two below are.
	free atomic.Uint32
	// longest is an upper bound: no run of free chunks is longer.
	longest atomic.Uint32
	// low is a lower bound: no chunk before it is free.
	low atomic.Uint32
}

// States of a row. Legal moves, each by one store under the area's lock:
//
//	free   -> coming   a new segment's handle is in the row, the life is the next one; the segment is not pinned yet
//	coming -> live     it is pinned
//	coming -> free     it could not be pinned, or its session has died and it was unpinned
//	free   -> live     row 0, by the session that creates the area
//	live   -> going    it is empty, or the area is removed
//	going  -> free     it is unpinned; the life stays until the row's next use
//
// A process that does not hold the lock sees coming or going only for a moment, or after a death. The session that
// repairs the area unpins the segment then, and frees the row.
const (
	rowFree = iota
	rowComing
	rowLive
	rowGoing
)

// rowWord returns the word of a row in that state and life.
func rowWord(state, life int) uint64 { return uint64(state) | uint64(life)<<8 }

// rowOf returns the state and the life that a row's word says. The other bits are ignored; life is at most maxLife.
func rowOf(word uint64) (state, life int) { return int(word & 3), int(word >> 8 & maxLife) }

// stripes is how many notes a session has, and so how many of its goroutines can be in Alloc or Free at once: the
// classes share all but the last, which is for large objects.
const stripes = 15

// slot describes a session that has the area attached.
type slot struct {
	_ structs.HostLayout
	// peer names the session: its incarnation in bits 0-31, above that its row in the instance plus one; 0 is a slot
	// that is free. It is written under the area's lock: by its session when that attaches and detaches, and by the
	// session that recovers it after its death. A session that detaches and cannot get the lock makes it an incarnation
	// that is over, by compare-and-swap: a reader sees it die.
	peer atomic.Uint64
	// order says how the session's notes become seen by others: see take.go. Its session writes it before peer, under
	// the area's lock, and never again.
	order atomic.Uint32
	// seen is the lower half of header.returned, when the session last unmapped what went back. Its session writes it
	// under all its stripes. Others read it without a lock, to ask those that are behind: a stale read asks a session
	// in vain.
	seen atomic.Uint32
	// notes are written by this session, each under the stripe of the same number. When the session is dead, the
	// session that recovers it writes them, under the area's lock. All others only read.
	notes [stripes]note
}

// segment is the header of a segment: at its start, but in segment 0 after the sessions. It is written once, by the
// process that adds the segment, before the row's word says that there is one. The bitmap of chunks, the spans and the
// chunks follow it. A process compares all fields with the row when it maps the segment (Area.checkedMapping).
type segment struct {
	_ structs.HostLayout
	// magic is stored last.
	magic atomic.Uint64
	// area is header.id of the area that the segment belongs to.
	area atomic.Uint64
	// row is the number of the segment's row.
	row atomic.Uint32
	// life is the life of that row.
	life atomic.Uint32
	// chunks is how many chunks the segment has. The places of bitmap, spans and chunks follow from it.
	chunks atomic.Uint32
	_      [36]byte
}

// span describes the chunk of the same number or, if a run of chunks begins there, the run: the blocks of a class, or
// one large object.
type span struct {
	_ structs.HostLayout
	// state says what begins here, and which session has it; see spanstate.go. It is stored after all other fields of a
	// run that begins, and first when the run ends.
	state atomic.Uint64
	// class is the index of the blocks' class. It is written under the area's lock while the state is free. Processes
	// read it without a lock, and may find that of the chunk's next run: so they check it, and load the state or the
	// bitmap afterwards.
	class atomic.Uint32
	// chunks is how many chunks the run has. It is written under the area's lock while the state is free.
	chunks atomic.Uint32
	// words are the bitmap: a pair for each 64 blocks. Those beyond the class's number of words are not used.
	words [64]pair
	// size is how many bytes a large object has, as was asked for. It is written under the area's lock, before the
	// state.
	size atomic.Uint64
	// next and prev are the neighbours in the list of the class, as spanRef.ref returns them; 0 is none. They mean
	// something while the state is partial, and are written and read under the area's lock.
	next atomic.Uint64
	prev atomic.Uint64
	// back is, of a chunk inside a run, how many chunks before it the run begins. It is written under the area's lock,
	// before the state says that the chunk is inside a run. Processes read it without a lock, and check it.
	back atomic.Uint32
	_    [20]byte
}

// pair says which of 64 blocks are allocated: those that are used and not freed.
type pair struct {
	_ structs.HostLayout
	// used is written by plain stores: by the span's session under the stripe of the class, or, if the span belongs to
	// no session, by the holder of the area's lock. Bits that stand for no block are always set. All others may read
	// it; a stale read shows a block as it was some instructions ago, which is allowed for an object that is allocated
	// or freed at that very moment.
	used atomic.Uint64
	// freed is where sessions that do not have the span set the bit of a block that they free, by atomic operations.
	// The writer of used alone clears a bit, after that of used: so a block is never seen as allocated again in
	// between.
	freed atomic.Uint64
}

const (
	// headerSize is the size of header: 128 bytes, two locks of 256, and a list for each class.
	headerSize  = 128 + 512 + 8*maxClasses
	rowSize     = 32
	slotSize    = 256
	segmentSize = 64
	spanSize    = 1088
	// pageSize is what the chunks of a segment are aligned to.
	pageSize = 4096
	// maxSlots is how many sessions an area can have room for.
	maxSlots = 2048
)

// geometry says where in a segment what is, in bytes from the segment's start.
type geometry struct {
	// segment, bitmap, spans and data are where the segment's header, the bitmap of chunks, the spans and the chunks
	// begin.
	segment, bitmap, spans, data uint64
	// chunks is how many of those there are.
	chunks int
	// size is where the last chunk ends.
	size uint64
}

// firstSegment returns where the segment header of segment 0 begins, in an area with room for so many sessions. In
// other segments it begins at 0.
func firstSegment(slots int) uint64 { return headerSize + maxRows*rowSize + uint64(slots)*slotSize }

// geometryOf returns the geometry of a segment with so many chunks whose header begins at start.
func geometryOf(start uint64, chunks int) geometry {
	g := geometry{segment: start, bitmap: start + segmentSize, chunks: chunks}
	g.spans = roundUp(g.bitmap+uint64(wordsFor(chunks))*8, 64)
	g.data = roundUp(g.spans+uint64(chunks)*spanSize, pageSize)
	g.size = g.data + uint64(chunks)<<chunkShift
	return g
}

// fitting returns the geometry with as many chunks as fit into size bytes; its chunks are 0 if not even one does.
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

// roundUp returns n, rounded up to a multiple of to, a power of two.
func roundUp(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// views are the typed windows on an area's segment 0. They are valid as long as that is mapped.
type views struct {
	head  *header
	rows  []row
	slots []slot
}

// viewsOf returns the windows on a region with room for so many sessions. It returns ErrCorrupt if the region is too
// short, or is not aligned; it reads nothing.
func viewsOf(r shm.Region, slots int) (v views, err error) {
	if v.head, err = shm.At[header](r, 0); err != nil {
		return v, err
	}
	if v.rows, err = shm.SliceOf[row](r, headerSize, maxRows); err != nil {
		return v, err
	}
	v.slots, err = shm.SliceOf[slot](r, headerSize+maxRows*rowSize, slots)
	return v, err
}

// storeOrdered makes a store that other processes see whole and in the order of this program's stores, though possibly
// later than the loads that follow it. It is for words with one writer at a time.
func storeOrdered(w *atomic.Uint64, v uint64) { ordered.Store64(w, v) }
