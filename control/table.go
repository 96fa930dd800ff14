package control

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/bits"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/google/uuid"
)

// Constants are what a control segment says of itself, written once by Format. A program gets a copy, which no stray
// store can change.
type Constants struct {
	Instance   uuid.UUID // a label for people
	Life       uuid.UUID // that the objects it lists bear
	Generation uint64    // of the instance; it goes up whenever a new control segment is made
	Backend    string
	Dir        string // for people; cut at 1008 bytes
	MembersDev uint64 // the members file whose bytes are the witnesses; a successor of it (see Members) is another inode
	MembersIno uint64
	Limits     Limits
}

// Table is a control segment as one process sees it: its constants, copied out and checked, and typed
// windows on its parts. All methods are safe for concurrent use. Only Join and JoinSupervisor enter a section; the
// others look, or do what needs no order with the sections of other processes. Those that only look work on a
// read-only mapping too. The windows end with the mapping, which is the caller's to keep.
type Table struct {
	Constants

	// The fields that follow are set by Open and never change; what they refer to is shared.

	view      *shm.View // of the bytes
	header    *header
	processes []processRow
	segments  []segmentRow
	bits      []atomic.Uint64       // reference bits, wordsPer for each segment. Under the control lock; people read them without
	pages     []pageWord            // the map of the reserved region
	mailboxes []shmsync.MailboxWord // by process row, as ended
	log       []atomic.Uint64       // of deaths, see deaths.go
	ended     []atomic.Uint32       // by process row: the highest incarnation that is through, see deaths.go
	tallies   []tally               // by process row, see tally.go
	ring      []eventRow            // see events.go
	wordsPer  int
	seed      uint64 // of row checksums
	constant  []byte // what the header begins with,
	copied    []byte // and what that was when it was opened, in this process's own memory

	// members is the inode of the members file that was in force, in this process's own memory. Succeed stores it under
	// the control lock, Retry compares the header with it.
	members atomic.Uint64
}

// Format writes the books of a new instance, with no process in them, into a region of zeros. The magic is stored last:
// until then Open refuses. Limits that are invalid are an error, a region that is too short is ErrCorrupt. A process
// that dies in Format leaves a segment that no process can open, for the next start to remove.
func Format(r shm.Region, c Constants) error {
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if r.Len() < Size(c.Limits) {
		return errkind.As(ErrCorrupt,
			fmt.Errorf("a control segment of %d bytes, its tables need %d", r.Len(), Size(c.Limits)))
	}
	return contained(func() error { return format(r, c) })
}

// format does what Format does, with faults as panics.
func format(r shm.Region, c Constants) error {
	h, err := shm.At[header](r, 0)
	if err != nil {
		return err
	}
	h.version, h.byteOrder = layoutVersion, byteOrderMark
	h.members.Store(c.MembersIno)
	k := &h.constants
	*k = constants{
		instance: c.Instance, life: c.Life, generation: c.Generation, membersDev: c.MembersDev, membersIno: c.MembersIno,
		processes: uint32(c.Limits.Processes), segments: uint32(c.Limits.Segments),
		memory: c.Limits.Memory, memoryPerProcess: c.Limits.MemoryPerProcess,
		segmentsPerProcess: uint32(c.Limits.SegmentsPerProcess), reserved: c.Limits.Reserved,
	}
	copy(k.backend[:], c.Backend)
	k.dirLen = uint32(copy(k.dir[:], c.Dir))
	if h.checksum, err = checksum(r); err != nil {
		return err
	}
	t := &Table{Constants: c, header: h}
	if err := t.divideRegion(r); err != nil {
		return err
	}
	t.mapPages(false)
	failpoint.Hit("control/format/filled")
	h.magic.Store(magic)
	return nil
}

// checksum covers all that is constant but the magic and itself.
func checksum(r shm.Region) (uint64, error) {
	b, err := r.Bytes(checksumFrom, checksumTo-checksumFrom)
	if err != nil {
		return 0, err
	}
	sum := fnv.New64a()
	sum.Write(b)
	return sum.Sum64(), nil
}

// Open checks a control segment's header and returns the view of it. Anything that is invalid is ErrCorrupt with
// the field's name, a whole header of another layout version errkind.Version; the rows are checked when they are read.
func Open(r shm.Region) (t *Table, err error) {
	err = contained(func() error { t, err = open(r); return err })
	return t, err
}

// open does what Open does, with faults as panics. Each check refuses what the header may hold if a stray store,
// another program or another version wrote it; the order of the checks decides which error a user reads. In particular
// a version is believed only in a header whose checksum is right: else a flipped bit would be reported as a version to
// upgrade to.
func open(r shm.Region) (*Table, error) {
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, errInsane("size", r.Len())
	}
	if m := h.magic.Load(); m != magic { // another file, or one that Format has not finished
		if m == bits.ReverseBytes64(magic) {
			return nil, errkind.As(ErrCorrupt,
				fmt.Errorf("control segment: it was made by a processor of the other byte order"))
		}
		return nil, errInsane("magic", fmt.Sprintf("%#x", m))
	}
	// What is used from here on is a copy, which no process can change between the check and the use.
	k := h.constants
	sum, err := checksum(r)
	says := h.checksum
	whole := err == nil && sum == says
	if v := h.version; v != layoutVersion {
		if !whole { // a stray store
			return nil, errInsane("layout version", v)
		}
		return nil, errkind.OtherVersion("the control segment", uint64(v), layoutVersion,
			"the instance's supervisor and sessions")
	}
	if b := h.byteOrder; b != byteOrderMark {
		return nil, errInsane("byte order", fmt.Sprintf("%#x", b))
	}
	if !whole {
		return nil, errInsane("checksum", fmt.Sprintf("%#x", says))
	}
	t := &Table{header: h, seed: mix(sum), view: r.View()}
	t.Constants = Constants{
		Instance: k.instance, Life: k.life, Generation: k.generation, Backend: cString(k.backend[:]),
		MembersDev: k.membersDev, MembersIno: k.membersIno,
		Limits: Limits{
			Processes: int(k.processes), Segments: int(k.segments), SegmentsPerProcess: int(k.segmentsPerProcess),
			Memory: k.memory, MemoryPerProcess: k.memoryPerProcess, Reserved: k.reserved,
		},
	}
	if err := t.Limits.Check(); err != nil {
		return nil, errInsane("limits", err)
	}
	if k.dirLen > maxDir { // the slice below would panic
		return nil, errInsane("directory length", k.dirLen)
	}
	t.Dir = string(k.dir[:k.dirLen])
	if t.constant, err = r.Bytes(0, checksumTo); err != nil {
		return nil, err
	}
	t.copied = bytes.Clone(t.constant)
	t.members.Store(h.members.Load())
	if err := t.divideRegion(r); err != nil {
		return nil, err
	}
	return t, nil
}

// divideRegion cuts the region into its parts, as the limits say. It refuses a region that is shorter than they need,
// such as an object that was truncated before it was mapped. It counts on limits that have passed Check.
func (t *Table) divideRegion(r shm.Region) (err error) {
	t.wordsPer = t.Limits.bitWords()
	o := offsetsOf(t.Limits)
	if r.Len() < o.end {
		return errInsane("size", r.Len())
	}
	if t.processes, err = shm.SliceOf[processRow](r, shm.Offset(o.processes), t.Limits.processRows()); err != nil {
		return err
	}
	if t.segments, err = shm.SliceOf[segmentRow](r, shm.Offset(o.segments), t.Limits.Segments); err != nil {
		return err
	}
	if t.bits, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(o.bits), t.Limits.Segments*t.wordsPer); err != nil {
		return err
	}
	if t.pages, err = shm.SliceOf[pageWord](r, shm.Offset(o.pages), t.Limits.pageWords()); err != nil {
		return err
	}
	rows := t.Limits.processRows()
	if t.mailboxes, err = shm.SliceOf[shmsync.MailboxWord](r, shm.Offset(o.mailboxes), rows); err != nil {
		return err
	}
	if t.log, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(o.log), deathsKept); err != nil {
		return err
	}
	if t.ended, err = shm.SliceOf[atomic.Uint32](r, shm.Offset(o.ended), rows); err != nil {
		return err
	}
	if t.tallies, err = shm.SliceOf[tally](r, shm.Offset(o.tallies), rows); err != nil {
		return err
	}
	t.ring, err = shm.SliceOf[eventRow](r, shm.Offset(o.ring), eventsKept)
	return err
}

// errInsane returns the ErrCorrupt that names the field of the header which is invalid, and what it holds.
func errInsane(field string, value any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("control segment: its %s is invalid: %v", field, value))
}

// Reclaims returns how many deaths were logged since the generation began, modulo 2^32; 0 if the books are gone.
func (t *Table) Reclaims() (n uint32) {
	_ = contained(func() error { n = t.header.reclaims.Load(); return nil })
	return n
}
