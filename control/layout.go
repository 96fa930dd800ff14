package control

import (
	"structs"
	"sync/atomic"

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

	// The header's checksum covers the bytes from version to the end of the constants.
	checksumFrom = 16
	checksumTo   = 1144

	maxDir = 1008 // bytes of the directory's path that the header keeps
)

// LayoutVersion is the version of the control segment's layout that this program writes and understands.
const LayoutVersion = layoutVersion

// header begins the control segment. The fields before members are constant: Format writes them once, before magic, and
// each process copies and checks them when it opens the segment. A stray store into them is put right by Retry from
// such a copy.
type header struct {
	_ structs.HostLayout

	// magic is stored last by Format. Until then, and if Format's process died before, Open refuses the segment.
	magic     atomic.Uint64
	checksum  uint64 // of what lies between checksumFrom and checksumTo
	version   uint32
	byteOrder uint32
	constants constants

	// members is the inode of the members file whose bytes are the witnesses. Succeed stores it under the control lock,
	// and Retry stores it again if it was garbled. It is read without the lock; a stale read means that a process asks a
	// file that is not in force any more, so an answer "dead" counts only if members is the same afterwards.
	members atomic.Uint64

	// lock is the control lock. It guards the tables, and every field of the header whose comment does not say
	// otherwise.
	lock shmsync.MutexWord

	// closing is not 0 once the instance is ending: there is no new intent, reference or join. It never goes back to 0.
	// Close stores it under the lock, CloseByForce without. It is read without the lock; a stale 0 costs nothing, since
	// each section that would begin something looks again.
	closing shmsync.EventCount

	// news goes up, without the lock, when a process has joined or wishes for a pin. The supervisor sleeps on it. A
	// death between the event and the addition delays the supervisor until it next looks around by itself.
	news shmsync.EventCount

	// reclaims counts the deaths in the log. recordDeathLocked stores it under the lock; it is read without the lock,
	// and a stale read means that the reader hears of a death at its next look.
	reclaims atomic.Uint32

	freeHint atomic.Uint32 // where to look for a free segment row first; any value will do

	// usedRows and usedBytes are the segment rows that are not free, and the sum of their sizes. They are derived from
	// the rows: a section keeps them, and repairTableLocked counts them again. usedBytes is compared with max_memory
	// under the lock. Without the lock they are for people, and may be off by what a section is about to store.
	usedRows  atomic.Uint32
	usedBytes atomic.Uint64

	pageHint atomic.Uint32 // where to look for free pages first; any value will do
	_        uint32

	// The last three are added to and read without the lock. A stale or garbled value costs people the order of events,
	// or a refused join in the list of them, and no more.

	events       atomic.Uint64 // places of the ring that were ever taken
	joinsRefused atomic.Uint64 // since the process table was full
	joinTold     atomic.Int64  // Unix time in ns of the last event that says so
}

// constants say what the control segment is, and how large its tables are. They are never stored to after Format but by
// Retry, which stores the same again.
type constants struct {
	instance           [16]byte
	life               [16]byte
	generation         uint64
	membersDev         uint64 // device and inode of the first members file, see header.members
	membersIno         uint64
	processes          uint32 // sessions; the table has one row more, the supervisor's
	segments           uint32
	memory             uint64 // bytes of all segments; 0: no limit
	memoryPerProcess   uint64 // bytes; 0: no limit
	segmentsPerProcess uint32 // 0: no limit
	dirLen             uint32
	reserved           uint64       // bytes of the region that segments are carved out of
	backend            [16]byte     // its name, filled up with zeros
	dir                [maxDir]byte // for people; cut if longer
}

// processRow says which process uses a row of the process table, and what it holds.
type processRow struct {
	_ structs.HostLayout

	// word holds free or used in bits 0-7 and the incarnation in bits 8-39. A joiner stores it without the lock, while
	// it holds the row's witness; reclaim, leave and a join that is refused store it under the lock. Each does so by
	// compare-and-swap, so that a reclaimer that was on its way can't free the row of a newcomer. It is read without
	// the lock; a stale read names a user that has left or died, whose incarnation no later user has.
	word atomic.Uint64

	// The rest is stored under the lock, in the first section of a row's user. Read without the lock, or before that
	// section, it may be the predecessor's: it is for people, and for the limits of the user itself.

	started atomic.Int64 // Unix time in ns

	// pid is what the process sees as its own pid. Its top bit is closingBit, which the user itself sets without the
	// lock when its session is closed and keeps the row only as long as bytes are lent.
	pid atomic.Uint32

	// segments and bytes count the references held and the sizes of these segments. They are derived from the reference
	// bits: a section keeps them, and repairTableLocked counts them again.
	segments atomic.Uint32
	bytes    atomic.Uint64

	application text
}

// closingBit is part of no pid on any system.
const closingBit = 1 << 31

// segmentRow says what a segment is and how far its making or removal has come. All of it is stored under the control
// lock, and word last, but for one store: Publish swaps the word of a row that its caller has carved without the lock.
//
// Readers without the lock load word first, and word and handle again at the end. If both are the same, the row was that
// segment's all the while, since the row's next one has another handle; else the parts may not belong together.
type segmentRow struct {
	_ structs.HostLayout

	// word holds the SegmentState in bits 0-7, the agent's row in bits 8-23 and its incarnation in bits 24-55. The agent
	// of a live row is the creator that has yet to publish it; after that a live row has none.
	word atomic.Uint64

	handle atomic.Uint64 // 48 random bits above the row's number
	size   atomic.Uint64 // bytes
	osWord atomic.Uint64 // the backend's

	// check is a checksum of handle, size, osWord and page (rowCheck), and 0 in a free row. It is stored after what it
	// covers, so a row in which a process died half way through is not sound; and a stray store that turns the word of a
	// free row into a live one's makes no segment of it.
	check atomic.Uint64

	created    atomic.Uint64 // Unix time in ns
	creatorPid atomic.Uint32
	pin        atomic.Uint32 // pinState, with the root's mark
	errno      atomic.Uint32 // why the last destroy failed; 0 if it did not
	page       atomic.Uint32 // its first page in the reserved region, plus one; 0: an object of its own
	creator    text          // application name
}
