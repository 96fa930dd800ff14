package logcache

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/shm/shmsync"
)

// Version is that of the layout.
const Version = 2

const (
	magic   = 0x3163_676f_6c6d_7367 // "gsmlogc1", in the order of little-endian bytes
	version = Version
)

// header is at the start of a cache's region. All above tuning is written once, by Create, and magic last.
type header struct {
	_       structs.HostLayout
	magic   atomic.Uint64
	check   atomic.Uint64 // of the constants
	version atomic.Uint64
	user    atomic.Uint64 // Options.Version
	seed    atomic.Uint64
	limit   atomic.Uint64 // bytes of the region
	flags   atomic.Uint64
	born    atomic.Uint64 // a random number, which tells a cache from an earlier one in the same place
	_       [64]byte

	// tuning is the setting of the policy in bits 0-7, of how many hashes one is sampled as a power of two in bits 8-15,
	// and 1 in bit 16 once there is a tuner. Written by the tuner; any value is harmless.
	tuning  atomic.Uint64
	tuner   atomic.Uint64 // the process that has the tuner; 0: none. By compare-and-swap
	_       [48]byte
	written atomic.Uint64 // samples
	_       [56]byte
	read    atomic.Uint64 // samples, by the tuner
	_       [56]byte
	samples [sampleCount]atomic.Uint64 // hashes of keys that were asked for; any value is harmless

	// curve are hits of the models for the miss-ratio curve, and last of what. Written by the tuner; for people.
	curve [curvePoints + 1]atomic.Uint64
	now   atomic.Uint64 // bytes that the cache may use; 0: limit. Under the locks of all shards, one after another
	_     [16]byte
}

const (
	sampleCount = 464
	curvePoints = 4
	flagObjects = 1
)

// shard is a part of the cache with a lock of its own, and with lines, extents, sketch and ghost of its own. What is not
// the lock's is written by the holder of the lock; reach and chunks are read without it.
type shard struct {
	_ structs.HostLayout
	// reach is how many entries have been put into their other line in bits 40-63, the number of doublings of the
	// index in bits 32-39, and below it how many lines have been split since.
	reach held64
	// dirty is 1 from when a holder of the lock has died, or something was found that cannot be, until the repair.
	dirty held32
	_     [52]byte
	lock  shmsync.LWLockWord
	logs  [2]logWords // of the window and the main log; derived from the rows

	number  held64 // of the next extent in a log; derived
	entries held64 // slots that are not empty; derived
	free    held32 // free extents; derived
	index   held32 // extents with lines; derived
	hint    held32 // where the search for a free extent begins; any value is harmless
	_       [4]byte
	moving  held64 // the slot of an entry that is being put into its other line
	hand    held64 // the line that is looked at next for slots that outlive their extent; any value is harmless
	sketch  uint64 // additions; any value is harmless
	ghost   uint64 // drops; any value is harmless

	// Counts since the cache was made, for people.
	evicted, expired, forced, crowded, lost, repaired held64

	// Deleted, purged and outdated (by a tag) are entries, refused are loaded values that were not stored.
	deleted, purged, outdated, refused held64
	// chunks are the extents with the lines that the index has grown by, 0 at the end; derived from the rows.
	chunks [maxChunks]held32

	loads   held64 // under way; derived; too many cost time only
	changes held64 // goes up with every change of an entry while there are loads
	away    held32 // extents that were taken out of use; derived
	_       [44]byte
}

// logWords are the ends of a log.
type logWords struct {
	_      structs.HostLayout
	oldest held32 // extents, 0 if there is none
	newest held32
	cursor held32 // how far the oldest extent has been walked
	count  held32 // of extents
	dead   held64 // bytes of records that were replaced or deleted, as far as it is known
}

const maxChunks = 128

// row is an extent's. State is the truth about the extent, with number, which orders the extents of a log, and used.
type row struct {
	_      structs.HostLayout
	state  held32 // stored last when the extent is taken
	used   held32 // the end of the last record that is whole
	number held64 // never given twice in a shard; of an extent with lines, its place in chunks
	next   held32 // the next newer extent of the log; derived
	_      [12]byte
}

// States of an extent. The legal moves are free -> window or main -> free, free -> lines, and free -> away -> free.
const (
	stateFree = iota
	stateWindow
	stateMain
	stateLines
	stateAway // Resize has taken it out of use; its bytes may be gone
)

// line is 64 bytes of the index. A slot is the truth about its entry.
type line struct {
	_ structs.HostLayout
	// hits are those of each slot's entry, at most 3. Get adds to them by plain stores, without a lock: one may be lost,
	// and one may come too late and count for the slot's next entry.
	hits  [8]uint8
	slots [slotsPerLine]held64
}

const (
	slotsPerLine = 7
	lineSize     = 64
	rowSize      = 32
	shardSize    = 1088
	shardsAt     = 4096
)
