package dshash

import (
	"fmt"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	magic   = 0x3168_7364_6d73_6f67 // "gosmdsh1", in the order of little-endian bytes
	version = 4
)

// header is at the start of a table's object, and written once, by Create. The reserve begins at the next multiple of
// 64 in the segment, and behind it are the partitions.
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

// reserve is what an update without memory goes by: an object that is as long as the longest item of the table, where
// the new item is written before it is copied over the old one. All but the lock is written by who holds that; nothing is
// read without it.
type reserve struct {
	_ structs.HostLayout
	// redo is the number of a partition, and 1, once the new item in the reserve is that of an entry there: whoever
	// finds it copies the item again. It is stored when the item is whole, and cleared when the copy is.
	redo atomic.Uint64
	// places own the reserve, and a longer one before it is the reserve.
	places [2]atomic.Uint64
	which  atomic.Uint64 // of the places has the reserve
	_      [8]byte
	lock   shmsync.LWLockWord
	_      [24]byte
}

// A reserve's object: the pointer of the item that is written, how many bytes of the new one there are, and those.
const reserveHeader = 16

// partition is a part of the table with a lock of its own. What is not the lock's is written by who holds that
// exclusively. Version, array, old and rebuilds are read without it. What a lookup needs comes first: it shares a cache
// line with the lock's state, and no other is read but the reader's own slot.
type partition struct {
	_ structs.HostLayout
	// version is odd while an item is written in place. It goes to the next even number after that, and after something
	// was taken out, or freed from a hand, before its memory is used for anything else.
	version atomic.Uint64
	array   atomic.Uint64 // 0 before the first entry
	// rebuilds is odd while array and old are stored, and goes up with every change of them and of next: a later array
	// can be where an earlier one was, with another number of lines.
	rebuilds atomic.Uint64
	count    atomic.Uint64 // of entries; derived
	dirty    atomic.Uint32 // a session died with the lock: repair before anything else
	_        [4]byte
	lock     shmsync.LWLockWord
	// hands have objects on their way in or out. One that is in the array, or is the array, was on its way in.
	hands [2]atomic.Uint64
	lost  atomic.Uint64 // slots that repairs found to lead nowhere

	// Another array comes in array's place in steps: see resize.go.
	old      atomic.Uint64 // the array whose entries move to array; 0: none
	next     atomic.Uint64 // the array that comes when it is clear, or goes if retired; 0: none
	progress atomic.Uint64 // lines of next that are clear, or of old that are empty; or retired
	_        [40]byte
}

// raise tells readers without the lock that something was taken out, or that an item which was written in place is
// whole; by a store, since it is under the lock. The load keeps the stores that come later behind it, on processors that
// would not do so by themselves.
func (p *partition) raise() {
	ordered.Store64(&p.version, (p.version.Load()|1)+1)
	p.version.Load()
}

// disturb tells readers without the lock that an item is not whole until raise.
func (p *partition) disturb() {
	ordered.Store64(&p.version, p.version.Load()|1)
	p.version.Load()
}

// rearrange tells that array and old change from now on, until arranged.
func (p *partition) rearrange() { ordered.Store64(&p.rebuilds, p.rebuilds.Load()|1) }

func (p *partition) arranged() { ordered.Store64(&p.rebuilds, (p.rebuilds.Load()|1)+1) }

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
	reserveSize   = 320
	placesAt      = 8
	reserveLockAt = 40
	partitionSize = 384
	lockAt        = 40
	lockSize      = 256
	handsAt       = 296
	nextAt        = 328
	lineSize      = 64

	maxPartitions = 1 << 16
	maxLines      = 1 << 28
)

// ahead returns how far in front of a multiple of 64 in its segment an object begins.
func ahead(p dsa.Pointer) int { return -int(p&3) & 3 * 16 }

// tableSize returns an object with room for the header and n partitions, wherever it begins.
func tableSize(n int) int { return headerSize + 48 + reserveSize + n*partitionSize }

// reserveAt returns where in the table's object its reserve begins.
func reserveAt(p dsa.Pointer) int { return headerSize + ahead(p) }

// partitionsAt returns where its partitions do.
func partitionsAt(p dsa.Pointer) int { return reserveAt(p) + reserveSize }

// arraySize returns an object with room for n lines, wherever it begins.
func arraySize(n int) int { return 64 + n*lineSize }

// linesAt returns where in an array's object its lines begin.
func linesAt(p dsa.Pointer) int {
	if n := ahead(p); n > 0 {
		return n
	}
	return 64
}

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dshash: "+format, args...))
}
