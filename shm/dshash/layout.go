package dshash

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// The layout of a table in shared memory, and what its bytes may hold.
//
// Other processes write these bytes too, and a program that writes where it shouldn't can leave any value in them. So
// a word of which an index or a length is made is loaded once, the local copy is checked, and the copy is used. What
// this file does not do is decide who may write when: the comment of each field names the writer and the lock.
//
// doc/structures.md has the tables of offsets, and layout_test.go compares them with these types. A change of the
// layout raises version.

const (
	// magic is "gosmdsh1" in the order of little-endian bytes. Bytes that do not begin with it are no table:
	// ErrCorrupt.
	magic = 0x3168_7364_6d73_6f67
	// version is the number of this layout. A table of another one is refused with ErrVersion.
	version = 5
)

// header is at the start of a table's object. Create writes it once, before any other process knows the handle, so it
// is read without a lock and no read is stale; self is the exception. Each process reads it when it attaches and
// keeps what it needs in its own memory, so a store that garbles the header later harms those processes only that
// attach after it. The reserve begins at the next multiple of 64 in the segment, and the partitions follow it.
type header struct {
	_ structs.HostLayout
	// magic is stored first. An object that has no table in it reads something else.
	magic atomic.Uint64
	// self is the table's own handle: by this word the table owns itself. Create stores it last, Destroy frees the
	// object through it (see core.destroy) and so clears it. Attach takes a table for one that is unfinished or
	// destroyed as long as self is not the handle.
	self atomic.Uint64
	// check is a hash of the fields below, except self: see header.sum. Attach compares it, and refuses a header in
	// which a stray store has changed a size or the number of partitions.
	check atomic.Uint64
	// form has the version in bits 8 to 31, and the kind in bits 0 to 7.
	form atomic.Uint32
	// keySize and valueSize are in bytes; 0 in a table of byte strings.
	keySize   atomic.Uint32
	valueSize atomic.Uint32
	// partitions is a power of two from 1 to maxPartitions. It must agree with the object's length.
	partitions atomic.Uint32
	// layout is shm.Layout of the types of key and value, mixed.
	layout atomic.Uint64
	// user is Options.Version, which means something to the program alone.
	user atomic.Uint64
	// seed is random, and goes into each hash, so that keys chosen by a stranger who does not know it do not all fall
	// into one line.
	seed atomic.Uint64
}

// Kinds of tables.
const (
	// kindFixed is the kind of a Table: keys and values of one size.
	kindFixed = 1 + iota
	// kindBytes is the kind of a Bytes: byte strings of any length.
	kindBytes
)

// reserve is what an update goes by that can have no memory. It leads to an object in which the longest item of the
// table has room; the new item is written there before it is copied over the old one. The session that holds lock
// writes all fields but lock and loose. Without the lock which and places are read for a hint, loose for certain, the
// others not at all. A session that finds the lock's last holder dead looks at redo first: see core.lockReserve.
type reserve struct {
	_ structs.HostLayout
	// redo is the number of a partition plus 1 while the item in the reserve is the new item of an entry there: the
	// process that finds it set copies the item again. It is stored when the new item is whole, and cleared when the
	// copy is.
	redo atomic.Uint64
	// places own two objects at most: the reserve's, and while it grows a longer one.
	places [2]atomic.Uint64
	// which is the number, 0 or 1, of the place that has the reserve. Of a value that a stray store has left only bit
	// 0 counts.
	which atomic.Uint64
	// loose is not 0 if the reserve may be longer than the table needs: see core.shrinkReserve. Any session sets it,
	// without the lock, after it has lowered a partition's longest; the holder of the lock clears it. The session that
	// gives the lock back looks at it afterwards.
	loose atomic.Uint64
	// lock is of all fields above, and of the reserve's object. Its place in the lock order is in the package
	// comment.
	lock shmsync.LWLockWord
	_    [24]byte
}

// reserveHeader is the length of what stands before the new item in a reserve's object: the pointer of the item that
// is to be written, and the length of the new one, in 8 bytes each.
const reserveHeader = 16

// partition is a part of the table with a lock of its own. Unless a field says otherwise it is written under the
// lock, held exclusively, and read under the lock; version, array, old, next and rebuilds are read without it too, by
// lookups that validate afterwards. What a lookup needs comes first: it shares a cache line with the lock's state,
// and a lookup touches no other line of the partition but that of the reader's own slot.
type partition struct {
	_ structs.HostLayout
	// version tells readers without the lock that what they have read may be wrong. It is odd while an item is
	// written in place. It goes to the next even number after that; after an entry was taken out or replaced; and
	// after a hand's object was freed, always before the memory is used for anything else. A reader that finds it as
	// it was, and even, has read items that were linked during its call; another value means that the reader must
	// look again.
	//
	// One store of it is made without this partition's lock: core.copyAgainLocked finishes, under the reserve's lock,
	// what a dead holder of this partition's lock has begun.
	version atomic.Uint64
	// array is the pointer of the array into which new entries go, 0 before the first entry. A reader without the
	// lock that finds an earlier one notices by rebuilds.
	array atomic.Uint64
	// rebuilds is odd while array and old are stored, and goes up with every change of them, and when a change of
	// arrays begins or is over. A process remembers where the arrays are mapped as long as rebuilds is the same. The
	// pointers alone do not suffice: a later array can be at the place of an earlier one, with another number of
	// lines.
	rebuilds atomic.Uint64
	// count is the number of entries. It follows from the slots, and a repair computes it anew. Len and Dump read it
	// without the lock; a stale value makes Len one of an earlier moment.
	count atomic.Uint64
	// dirty is not 0 if the partition must be repaired before anything else is done in it: a session died with the
	// lock, or met a fault or a garbled word. It is set by any holder of the lock, and by a session that closes and
	// may hold the lock; it is cleared by a repair alone. A call reads it after it has taken the lock, so it can't
	// miss the mark of an earlier holder.
	dirty atomic.Uint32
	_     [4]byte
	// lock is of everything in the partition, of its arrays and of its items. Shared, it keeps entries from changing;
	// exclusive, it keeps all other sessions out but Get.
	lock shmsync.LWLockWord
	// hands own objects that are on their way in or out. The holder of the lock stores to them, by dsa.Area.AllocInto
	// and FreeFrom or by one store. An object that a slot leads to as well, or that is an array, was on its way in or
	// had not left yet: a repair clears the hand. Any other object is freed by the repair.
	hands [2]atomic.Uint64
	// longest is the length in bytes of the longest object that a slot leads to, or more, if that is a long one (see
	// core.long); else it may be 0. It is raised before such an item is linked, with the reserve's lock held too; it is
	// lowered without that. Holders of the reserve's lock read it without this partition's: a stale value is too high.
	longest atomic.Uint64

	// old is the array whose entries move to array; 0 if there is none.
	old atomic.Uint64
	// next owns the array that takes array's place once it is clear, or one that is retired and waits to be freed; 0
	// if there is none.
	next atomic.Uint64
	// progress counts the lines of next that are clear, or the lines of old that are empty; or it is retired.
	progress atomic.Uint64
	// lost counts the entries that repairs could not keep, since their slots or arrays led nowhere. It only goes up.
	lost atomic.Uint64
	_    [32]byte
}

// raiseVersion makes the version the next even number. So a reader without the lock that began before it, and may have
// met what was taken out or an item that was not whole, looks again. One process calls it at a time, hence a store
// suffices: the holder of the partition's lock, held exclusively, or the holder of the reserve's lock while the
// partition's is a dead session's.
//
// It comes before the store that uses the memory for something else. The load after it keeps such a store behind it
// on processors that may reorder the two. A process that dies before raise leaves the old version; the repair raises
// it before it frees anything.
func (p *partition) raiseVersion() {
	ordered.Store64(&p.version, (p.version.Load()|1)+1)
	p.version.Load()
}

// beginOverwrite makes the version odd, before the first byte of a linked item is overwritten; readers without the lock
// don't believe what they see from here on until raiseVersion. A process that dies after it leaves the version odd,
// and a redo in the reserve by which the item is made whole again. The load has the same purpose as in raise.
func (p *partition) beginOverwrite() {
	ordered.Store64(&p.version, p.version.Load()|1)
	p.version.Load()
}

// beginRebuild makes rebuilds odd, before array or old is stored. From here on until endRebuild a process that looks at
// the arrays for the first time, or looks again, takes the lock. A process that dies in between leaves rebuilds odd,
// and repair ends it.
func (p *partition) beginRebuild() { ordered.Store64(&p.rebuilds, p.rebuilds.Load()|1) }

// endRebuild makes rebuilds the next even number, after the last store to array, old or next. So every process looks at
// the arrays anew.
func (p *partition) endRebuild() { ordered.Store64(&p.rebuilds, (p.rebuilds.Load()|1)+1) }

// line is 64 bytes of an array, as long as a cache line. The holder of the partition's lock writes both fields;
// lookups read them without the lock. The slots decide: tags that are stale make a lookup follow a pointer in vain,
// or miss an entry that is being inserted at this moment. What a lookup makes of a slot counts only if the
// partition's version has not changed.
type line struct {
	_ structs.HostLayout
	// tags has in byte i, for i from 0 to 6, a byte of the hash of the key in slot i, which is never 0; 0 if that
	// slot is empty. Byte 7 is the overflow.
	tags atomic.Uint64
	// slots lead to items; 0 is an empty slot. A pointer that leads to no item of this partition is ErrCorrupt.
	slots [slotsPerLine]atomic.Uint64
}

// slotsPerLine is what fits into a line after its tags.
const slotsPerLine = 7

// The overflow of a line counts the entries for which a lookup must go on to the next line: they have this line for
// their home or passed it, and lie further on. Once it is full it stays so until the array is rebuilt or repaired,
// since it can't tell any more how many there are; then lookups go one line further than they need to.
const (
	overflowShift = 56
	overflowUnit  = 1 << overflowShift
	overflowFull  = 255
)

// arrayHeader is the length of the number of lines, with which an array's object begins. The lines begin at the next
// multiple of 64 in the segment.
const arrayHeader = 8

const (
	// Sizes and offsets in bytes. The offsets are those within header, reserve and partition, for dsa.Area.Place;
	// layout_test.go compares them with the types.
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

	// maxPartitions bounds the memory of an empty table: 24 MiB.
	maxPartitions = 1 << 16
	// maxLines bounds an array at 16 GiB. (homeOf has 32 bits of a hash, so it could tell 16 times as many lines
	// apart.)
	maxLines = 1 << 28
)

// lineSlack returns how many bytes an object at p begins before a multiple of 64 in its segment. Objects begin at
// multiples of 16, which is the unit of a pointer's low bits.
func lineSlack(p dsa.Pointer) int { return -int(p&3) & 3 * 16 }

// tableSize returns the length in bytes of an object with room for the header, the reserve and n partitions, wherever
// in a cache line it begins.
func tableSize(n int) int { return headerSize + 48 + reserveSize + n*partitionSize }

// reserveOffset returns the offset of the reserve in the table's object, which begins at p.
func reserveOffset(p dsa.Pointer) int { return headerSize + lineSlack(p) }

// partitionsOffset returns the offset of the first partition in the table's object, which begins at p.
func partitionsOffset(p dsa.Pointer) int { return reserveOffset(p) + reserveSize }

// arraySize returns the length in bytes of an object with room for n lines, wherever in a cache line it begins.
func arraySize(n int) int { return 64 + n*lineSize }

// linesOffset returns the offset of the first line in an array's object, which begins at p. It leaves room for the number
// of lines.
func linesOffset(p dsa.Pointer) int {
	if n := lineSlack(p); n > 0 {
		return n
	}
	return 64
}
