package control

import (
	"encoding/binary"
	"structs"
	"sync/atomic"
	"unicode/utf8"

	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/shmsync"
)

// The control segment is a header, a table of processes, a table of segments, and for each segment one bit
// per process. All is fixed-size, each part begins on 64 bytes, all offsets follow from the two table sizes.
//
//	0      header
//	2048   (max_processes + 1) x 64 bytes of process rows
//	then   max_segments x 96 bytes of segment rows
//	then   max_segments x ((max_processes + 1)/64, rounded up) x 8 bytes of reference bits
//	then   16 bytes for each 64 pages of the reserved region
//	then   (max_processes + 1) x 192 bytes of mailboxes
//	then   1024 x 8 bytes: the log of deaths
//	then   (max_processes + 1) x 4 bytes: which incarnations are through
//	then   (max_processes + 1) x 224 bytes: what they have done, counted
//	then   1024 x 96 bytes: the last events
//
// Any change here bumps layoutVersion.
const (
	magic         = 0x6c74632d6d736467 // "gdsm-ctl"
	layoutVersion = 6
	byteOrderMark = 0x01020304

	headerSize     = 2048
	processRowSize = 64
	segmentRowSize = 96
	mailboxSize    = 192
	align          = 64

	checksumFrom = 16
	checksumTo   = 1144

	maxDir = 1008
)

// LayoutVersion is the version of the control segment's layout that this program writes and understands.
const LayoutVersion = layoutVersion

// header: the constants are written once, before magic, and copied out by everyone who opens the segment. The
// rest is written under the control lock unless said otherwise.
type header struct {
	_         structs.HostLayout
	magic     atomic.Uint64 // stored last
	checksum  uint64        // of what lies between checksumFrom and checksumTo
	version   uint32
	byteOrder uint32
	constants constants
	members   atomic.Uint64 // inode of the members file that is in force; its successor's in the end. Read without the lock

	lock      shmsync.MutexWord
	closing   shmsync.Count // not 0: no new intent, reference or join; it never goes back. Read by all without the lock
	news      shmsync.Count // of joins and of wishes for pins, for the supervisor; read without the lock
	reclaims  atomic.Uint32 // of deaths in the log; read without the lock
	freeHint  atomic.Uint32 // where to look for a free segment row first; any value will do
	usedRows  atomic.Uint32 // segment rows that are not free; derived, for limits and people
	usedBytes atomic.Uint64 // sum of their sizes; derived
	pageHint  atomic.Uint32 // where to look for free pages first; any value will do
	_         uint32

	events       atomic.Uint64 // places of the ring that were ever taken. Added to and read without the lock, as the next two are
	joinsRefused atomic.Uint64 // since the process table was full
	joinTold     atomic.Int64  // Unix time in ns of the last event that says so
}

type constants struct {
	instance           [16]byte
	life               [16]byte
	generation         uint64
	membersDev         uint64
	membersIno         uint64
	processes          uint32
	segments           uint32
	memory             uint64 // 0: no limit
	memoryPerProcess   uint64 // 0: no limit
	segmentsPerProcess uint32 // 0: no limit
	dirLen             uint32
	reserved           uint64 // bytes of the region that segments are carved out of
	backend            [16]byte
	dir                [maxDir]byte // for people; cut if longer
}

// processRow: word is stored by the joiner, who holds the row's witness, and by reclaim and leave under the
// lock, each by compare-and-swap. The rest is stored under the lock; read without it, it may be the predecessor's.
type processRow struct {
	_           structs.HostLayout
	word        atomic.Uint64 // bits 0-7 free or used, 8-39 incarnation
	started     atomic.Int64  // Unix time in ns
	pid         atomic.Uint32 // as the process sees itself; with closingBit: its session is closed and keeps the row yet
	segments    atomic.Uint32 // references held; derived
	bytes       atomic.Uint64 // their sizes; derived
	application text
}

// closingBit is no pid's on any system.
const closingBit = 1 << 31

// segmentRow: all stored under the lock, word last. Read without it, a row is as good as its word,
// if that is the same after.
type segmentRow struct {
	_ structs.HostLayout
	// Bits 0-7 SegmentState, 8-23 agent's row, 24-55 agent's incarnation; of a live one who has yet to publish it.
	word       atomic.Uint64
	handle     atomic.Uint64
	size       atomic.Uint64
	osWord     atomic.Uint64 // the backend's
	check      atomic.Uint64 // checksum of handle, size, osWord and page; 0 in a free row
	created    atomic.Uint64 // Unix time in ns
	creatorPid atomic.Uint32
	pin        atomic.Uint32 // pinState, with the root's mark
	errno      atomic.Uint32 // why the last destroy failed; 0 if it did not
	page       atomic.Uint32 // its first page in the reserved region, plus one; 0: an object of its own
	creator    text          // application name
}

// text is up to 32 bytes of UTF-8 that can be stored and loaded without tearing a word.
type text [4]atomic.Uint64

func (t *text) store(words *[4]uint64) {
	for i := range t {
		ordered.Store64(&t[i], words[i])
	}
}

func textWords(s string) (words [4]uint64) {
	var b [32]byte
	for len(s) > len(b) {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	copy(b[:], s)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return words
}

func (t *text) load() string { return textOf(t.words()) }

func (t *text) words() (words [4]uint64) {
	for i := range t {
		words[i] = t[i].Load()
	}
	return words
}

// textOf undoes textWords.
func textOf(words [4]uint64) string {
	var b [32]byte
	for i, w := range words {
		binary.NativeEndian.PutUint64(b[8*i:], w)
	}
	return cString(b[:])
}

// cString returns b up to its first zero byte.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// A process word's low byte: 0 is free.
const processUsed = 1

func usedBy(incarnation uint32) uint64        { return freedBy(incarnation) | processUsed }
func freedBy(incarnation uint32) uint64       { return uint64(incarnation) << 8 }
func incarnationOf(processWord uint64) uint32 { return uint32(processWord >> 8) }
func isUsed(processWord uint64) bool          { return processWord&0xff == processUsed }

// SegmentState is where a segment row stands in its life.
type SegmentState uint8

const (
	Free SegmentState = iota
	Creating
	Live
	Destroying
)

func (s SegmentState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "corrupt"
}

var stateNames = [...]string{"free", "creating", "live", "destroying"}

// nobody is the agent's row of a destroying row whose destroy failed.
const nobody = 0xffff

func segmentWord(s SegmentState, agent int, incarnation uint32) uint64 {
	return uint64(s) | uint64(agent)<<8 | uint64(incarnation)<<24
}
func stateOf(w uint64) SegmentState          { return SegmentState(w) }
func agentOf(w uint64) (row int, inc uint32) { return int(w >> 8 & 0xffff), uint32(w >> 24) }

type pinState = uint32

const (
	unpinned  pinState = iota
	pinWanted          // the supervisor has yet to open the object
	pinned

	root pinState = 4 // set beside one of those: sessions find this segment without being told of it
)

func isRoot(w pinState) bool { return w == root|pinned || w == root|pinWanted }

// pinOf returns what a pin word says but for the root's mark.
func pinOf(w pinState) pinState { return w &^ root }

// rowCheck binds a row's handle, size, osWord and page together, so that a flipped bit can't make a session map or
// remove what it was not meant to.
func rowCheck(seed, handle, size, osWord uint64, page uint32) uint64 {
	return mix(mix(mix(seed^handle)^size) ^ osWord ^ uint64(page)<<32) // one of the last two is 0
}

// mix returns the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
