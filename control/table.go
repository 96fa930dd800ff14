package control

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/google/uuid"
)

// Limits are fixed for a control segment's life. A limit of 0 bytes or segments per process is none.
type Limits struct {
	Processes          int // sessions, the supervisor not counted; at most MaxProcesses
	Segments           int // rows of the segment table; at most MaxSegments
	SegmentsPerProcess int // references held
	Memory             uint64
	MemoryPerProcess   uint64 // bytes of segments held
	Reserved           uint64 // bytes of the region that segments are carved out of; 0: there is none
}

// What the layout can bear.
const (
	MaxProcesses = shmsync.MaxRows - 1
	MaxSegments  = 65534 // the two numbers above are the control segment's and the reserved region's
)

// Constants are what a control segment says of itself, written once.
type Constants struct {
	Instance   uuid.UUID
	Life       uuid.UUID // that the objects it lists bear
	Generation uint64
	Backend    string
	Dir        string // for people; cut at 1008 bytes
	MembersDev uint64 // the members file whose bytes are the witnesses; a successor of it (see Members) is another inode
	MembersIno uint64
	Limits     Limits
}

// Table is a control segment as one process sees it: its constants, copied out and checked, and typed
// windows on its parts. All methods are safe for concurrent use.
type Table struct {
	Constants

	view      *shm.View // of the bytes
	header    *header
	processes []processRow
	segments  []segmentRow
	bits      []atomic.Uint64 // wordsPer for each segment
	pages     []pageWord
	mailboxes []shmsync.MailboxWord // by process row, as ended
	log       []atomic.Uint64       // of deaths
	ended     []atomic.Uint32
	tallies   []tally
	ring      []eventRow
	wordsPer  int
	seed      uint64        // of row checksums
	constant  []byte        // what the header begins with,
	copied    []byte        // and what that was
	members   atomic.Uint64 // inode of the members file that was in force
}

// Size returns the length in bytes of a control segment with these limits.
func Size(l Limits) int { return layout(l).end }

type offsets struct{ processes, segments, bits, pages, mailboxes, log, ended, tallies, ring, end int }

func layout(l Limits) (o offsets) {
	up := func(n int) int { return (n + align - 1) / align * align }
	o.processes = headerSize
	o.segments = up(o.processes + l.processRows()*processRowSize)
	o.bits = up(o.segments + l.Segments*segmentRowSize)
	o.pages = up(o.bits + l.Segments*l.bitWords()*8)
	o.mailboxes = up(o.pages + l.pageWords()*pageWordSize)
	o.log = up(o.mailboxes + l.processRows()*mailboxSize)
	o.ended = up(o.log + deathsKept*8)
	o.tallies = up(o.ended + l.processRows()*4)
	o.ring = up(o.tallies + l.processRows()*tallySize)
	o.end = up(o.ring + eventsKept*eventRowSize)
	return o
}

func (l Limits) processRows() int { return l.Processes + 1 }
func (l Limits) bitWords() int    { return (l.processRows() + 63) / 64 }

// Check reports whether a control segment can be made with these limits.
func (l Limits) Check() error {
	if l.Processes < 1 || l.Processes > MaxProcesses {
		return fmt.Errorf("max_processes is %d, it must be from 1 to %d", l.Processes, MaxProcesses)
	}
	if l.Segments < 1 || l.Segments > MaxSegments {
		return fmt.Errorf("max_segments is %d, it must be from 1 to %d", l.Segments, MaxSegments)
	}
	if l.Reserved%PageSize != 0 || l.Reserved > math.MaxInt || l.Reserved > maxPages*PageSize {
		return fmt.Errorf("min_dynamic_shared_memory is %d bytes: "+
			"it must be whole pages of 4 kB, and no more than this system can map", l.Reserved)
	}
	if l.SegmentsPerProcess < 0 || l.SegmentsPerProcess > math.MaxInt32 {
		return fmt.Errorf("max_segments_per_process is %d, it must be from 0 to %d",
			l.SegmentsPerProcess, math.MaxInt32)
	}
	return nil
}

// Format writes the books of a new instance, with no process in them, into a region of zeros. The magic is stored last:
// until then Open refuses.
func Format(r shm.Region, c Constants) error {
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if r.Len() < Size(c.Limits) {
		return errkind.As(ErrCorrupt,
			fmt.Errorf("a control segment of %d bytes, its tables need %d", r.Len(), Size(c.Limits)))
	}
	return guarded(func() error { return format(r, c) })
}

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
	if err := t.divide(r); err != nil {
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
	err = guarded(func() error { t, err = open(r); return err })
	return t, err
}

func open(r shm.Region) (*Table, error) {
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, insane("size", r.Len())
	}
	if m := h.magic.Load(); m != magic {
		if m == bits.ReverseBytes64(magic) {
			return nil, errkind.As(ErrCorrupt,
				fmt.Errorf("control segment: it was made by a processor of the other byte order"))
		}
		return nil, insane("magic", fmt.Sprintf("%#x", m))
	}
	k := h.constants // a copy: from here on no process can change it
	sum, err := checksum(r)
	says := h.checksum
	whole := err == nil && sum == says
	if v := h.version; v != layoutVersion {
		if !whole { // a stray store
			return nil, insane("layout version", v)
		}
		return nil, errkind.OtherVersion("the control segment", uint64(v), layoutVersion,
			"the instance's supervisor and sessions")
	}
	if b := h.byteOrder; b != byteOrderMark {
		return nil, insane("byte order", fmt.Sprintf("%#x", b))
	}
	if !whole {
		return nil, insane("checksum", fmt.Sprintf("%#x", says))
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
		return nil, insane("limits", err)
	}
	if k.dirLen > maxDir {
		return nil, insane("directory length", k.dirLen)
	}
	t.Dir = string(k.dir[:k.dirLen])
	if t.constant, err = r.Bytes(0, checksumTo); err != nil {
		return nil, err
	}
	t.copied = bytes.Clone(t.constant)
	t.members.Store(h.members.Load())
	if err := t.divide(r); err != nil {
		return nil, err
	}
	return t, nil
}

// divide cuts the region into its parts, as the limits say.
func (t *Table) divide(r shm.Region) (err error) {
	t.wordsPer = t.Limits.bitWords()
	o := layout(t.Limits)
	if r.Len() < o.end {
		return insane("size", r.Len())
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

// insane says which field of the header is invalid.
func insane(field string, value any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("control segment: its %s is invalid: %v", field, value))
}

// guarded runs f with faults as errors, outside of any section.
func guarded(f func() error) (err error) {
	defer recoverFault(&err, debug.SetPanicOnFault(true))
	return f()
}

// recoverFault ends a stretch in which faults are errors; it must be deferred itself. Was is what
// debug.SetPanicOnFault was.
func recoverFault(err *error, was bool) {
	if r := recover(); r != nil {
		*err = corruption(r)
	}
	debug.SetPanicOnFault(was)
}

// Closing reports whether the instance is being closed, or its books are gone: no new segment, reference or session.
func (t *Table) Closing() (closing bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			closing = true
		}
	}()
	return t.closing()
}

func (t *Table) closing() bool { return t.header.closing.Load() != 0 }

// WaitNews sleeps until a process has joined or wished for a pin since the count was seen, for at most d, until ctx
// is over or a process calls Nudge. It returns the count now.
func (t *Table) WaitNews(ctx context.Context, seen uint32, d time.Duration) (now uint32, err error) {
	err = guarded(func() error { now = t.header.news.Wait(ctx, seen, d); return nil })
	return now, err
}

// Nudge wakes who waits in WaitNews, so that it looks around and waits again.
func (t *Table) Nudge() {
	_ = guarded(func() error { t.header.news.Nudge(); return nil })
}

// Reclaims counts the deaths: the processes that were reclaimed.
func (t *Table) Reclaims() (n uint32) {
	_ = guarded(func() error { n = t.header.reclaims.Load(); return nil })
	return n
}
