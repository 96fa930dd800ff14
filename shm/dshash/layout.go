package dshash

import (
	"fmt"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/ordered"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	magic   = 0x3168_7364_6d73_6f67 // "gosmdsh1", in the order of little-endian bytes
	version = 3
)

// header is at the start of a table's object, and written once, by Create. The partitions begin at the next
// multiple of 64 in the segment.
type header struct {
	_          structs.HostLayout
	magic      atomic.Uint64
	self       atomic.Uint64 // the table owns itself: its own handle, stored last by Create and cleared by Destroy
	check      atomic.Uint64 // of what follows
	form       atomic.Uint32 // version in bits 8-31, kind in bits 0-7
	keySize    atomic.Uint32
	valueSize  atomic.Uint32
	partitions atomic.Uint32
	layout     atomic.Uint64 // of the types of key and value
	user       atomic.Uint64 // Options.Version
	seed       atomic.Uint64
}

// Kinds of tables.
const (
	kindFixed = 1 + iota // keys and values of one size
	kindBytes
)

// partition is a part of the table with a lock of its own. What is not the lock's is written by who holds that
// exclusively. Version, array and rebuilds are read without it. What a lookup needs comes first: it shares a cache line
// with the lock's state, and no other is read but the reader's own slot.
type partition struct {
	_ structs.HostLayout
	// version goes up after something was taken out, or freed from a hand, before its memory is used for anything else.
	version atomic.Uint64
	array   atomic.Uint64 // 0 before the first entry
	// rebuilds goes up before array is stored: a later array can be where an earlier one was, with another number
	// of lines.
	rebuilds atomic.Uint64
	count    atomic.Uint64 // of entries; derived
	dirty    atomic.Uint32 // a session died with the lock: repair before anything else
	_        [4]byte
	lock     shmsync.LWLockWord
	// hands have objects on their way in or out. One that is in the array, or is the array, was on its way in.
	hands [2]atomic.Uint64
	lost  atomic.Uint64 // slots that repairs found to lead nowhere
}

// raise tells readers without the lock that something was taken out, by a store, since it is under the lock. The
// load keeps the stores that come later behind it, on processors that would not do so by themselves.
func (p *partition) raise() {
	ordered.Store64(&p.version, p.version.Load()+1)
	p.version.Load()
}

// line is 64 bytes of an array. A slot's pointer decides; tags follow from those.
type line struct {
	_ structs.HostLayout
	// Bytes 0-6: a byte of the hash of each slot's key, never 0; 0 if the slot is empty. Byte 7: overflow.
	tags  atomic.Uint64
	slots [slotsPerLine]atomic.Uint64
}

const slotsPerLine = 7

// Overflow counts the entries that have this line for their home, or would have been put there, and lie further
// on. Once full it stays so until the array is rebuilt.
const (
	overflowShift = 56
	overflowUnit  = 1 << overflowShift
	overflowFull  = 255
)

// An array is an object: how many lines it has, in 8 bytes, and from the next multiple of 64 in the segment on the
// lines.
const arrayHeader = 8

const (
	headerSize    = 64
	selfAt        = 8
	partitionSize = 320
	lockAt        = 40
	lockSize      = 256
	handsAt       = 296
	lineSize      = 64

	maxPartitions = 1 << 16
	maxLines      = 1 << 28
)

// ahead is how far in front of a multiple of 64 in its segment an object begins.
func ahead(p dsa.Pointer) int { return -int(p&3) & 3 * 16 }

// tableSize is an object with room for the header and n partitions, wherever it begins.
func tableSize(n int) int { return headerSize + 48 + n*partitionSize }

// partitionsAt is where in the table's object its partitions begin.
func partitionsAt(p dsa.Pointer) int { return headerSize + ahead(p) }

// arraySize is an object with room for n lines, wherever it begins.
func arraySize(n int) int { return 64 + n*lineSize }

// linesAt is where in an array's object its lines begin.
func linesAt(p dsa.Pointer) int {
	if n := ahead(p); n > 0 {
		return n
	}
	return 64
}

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dshash: "+format, args...))
}
