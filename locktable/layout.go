package locktable

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

const (
	magic   = 0x3174_6b63_6c6d_7367 // "gsmlckt1", in the order of little-endian bytes
	version = 1

	partitions = 64
	firstDir   = 16 // page words of a partition's first directory
	dirs       = 20
	pageSize   = 4096
	headSize   = 128
	perPage    = pageSize / headSize // with slot 0, which is the page's own
	inline     = 48                  // bytes of a name that a head has room for
)

// root is the table's object. All but stamp and tickets is written once, by Create, and magic last.
type root struct {
	_       structs.HostLayout
	magic   atomic.Uint64
	version atomic.Uint64
	id      atomic.Uint64 // a random number, which tells this table from all others
	seed    atomic.Uint64 // of the hash of names
	roster  atomic.Uint64 // the dsa.Pointer of the seats
	_       [24]byte
	stamp   atomic.Uint64 // the last token's number. Added to
	_       [56]byte
	tickets atomic.Uint64 // the last waiter's ticket. Added to
	_       [56]byte
	parts   [partitions]part
}

// part is a partition: the names with the same bits of their hash. What is not lock is written by the holder of lock.
type part struct {
	_    structs.HostLayout
	lock shmsync.LWLockWord
	// dirs own the directories: dirs[k] is an array of firstDir<<k words, each of which owns a page of heads. A head
	// that has a name stays where it is, and its page stays allocated, until the name goes.
	dirs [dirs]atomic.Uint64
	// buckets own two arrays of head numbers, the old and the new one of a resize: buckets[which] is in use. The arrays
	// are derived from the heads.
	buckets [2]atomic.Uint64
	// coming owns a page until it is zero.
	coming atomic.Uint64
	which  atomic.Uint32 // derived
	dirty  atomic.Uint32 // 1 from the death of a holder of lock, or from the finding of an invalid word, until the repair
	epoch  atomic.Uint32 // goes up before a page or a directory is freed: a process then looks up anew what it had cached
	heads  atomic.Uint32 // with a name; derived
	free   atomic.Uint32 // the first head without one, of a list through next; derived
	notes  atomic.Uint32 // heads with a note of a death, or more: those that Repaired has taken away count until a sweep counts anew; derived
	made   atomic.Uint32 // names that came since idle ones were last looked for; any value is harmless
	_      [4]byte
	// floor is the latest change of a name that is forgotten: an absent name may have changed then.
	floor atomic.Uint64
	// lost are the hashes of names whose note of a death is forgotten, 0 where there is none; lostAll is 1 once one of
	// them had to give way: then each absent name may have such a note.
	lost    [lostNotes]atomic.Uint64
	lostAll atomic.Uint32
	_       [4]byte
}

const lostNotes = 5 * 6 // mayHaveLostNoteLocked looks at six at a time

// head is a name and its lock. All but lock is written by the holder of the partition's lock, but for seen and asked.
type head struct {
	_     structs.HostLayout
	lock  waitqueue.Head
	ident atomic.Uint64 // the name's hash
	next  atomic.Uint32 // the number of the next head in the bucket, or of the next free one; derived
	// kind is 0 of a head without a name; else 1 and, above bit 8, the name's length. Stored last when a name comes,
	// first when it goes.
	kind atomic.Uint32
	// changed is the stamp of the last change; 0: none since the head has the name.
	changed atomic.Uint64
	// died is the first session that died with the lock in a mode that writes, as Peer.Word, and in bits 48-63 how often
	// that was; 0: none, or repaired. Bit 47 says that all those deaths were in an intent mode.
	died atomic.Uint64
	// epitaph owns a text: what the owner that died was doing; 0: none.
	epitaph atomic.Uint64
	long    atomic.Uint64 // owns the name, if it is longer than inline
	asked   atomic.Uint32 // how often the holders were asked to let go
	_       [4]byte
	// seen is when a hold in place was first seen, in milliseconds in bits 0-39, and above them low bits of its number.
	// Any value is harmless.
	seen atomic.Uint64
	name [inline / 8]atomic.Uint64
}

// seat is what a session has in the table for itself.
type seat struct {
	_    structs.HostLayout
	pid  atomic.Uint64
	bell atomic.Uint32 // the mailbox bit of the goroutine that hears of what is asked, plus one; 0: there is none
	_    [4]byte
	app  [5]atomic.Uint64 // the application, as text with zeros behind it
}
