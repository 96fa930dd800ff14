package control

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
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
	sum, err := formatChecksum(r)
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
	t := &Table{header: h, seed: mixRowCheck(sum), view: r.View()}
	t.Constants = Constants{
		Instance: k.instance, Life: k.life, Generation: k.generation, Backend: textBeforeZero(k.backend[:]),
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

// Unfinished counts the rows that a process may still free: not those whose destroy failed, which wait for a Retry, and
// not those in a state that a stray store made. It takes no lock, so a row may be free by the time it returns.
func (t *Table) Unfinished() (n int, err error) {
	err = contained(func() error {
		for i := range t.segments {
			w := t.segments[i].word.Load()
			if s := wordState(w); s != Free && s <= Destroying && w != segmentWord(Destroying, nobody, 0) {
				n++
			}
		}
		return nil
	})
	return n, err
}

// Used returns how many segment rows are in use, and the sum of their sizes, as the header counts them. It takes no
// lock. A stray store makes both wrong until the table is repaired.
func (t *Table) Used() (rows int, bytes uint64, err error) {
	err = contained(func() error {
		rows, bytes = int(t.header.usedRows.Load()), t.header.usedBytes.Load()
		return nil
	})
	return rows, bytes, err
}

// ReservedUsed returns how many bytes of the reserved region are given out, in whole pages. It takes no lock, and
// counts what each word says at its moment.
func (t *Table) ReservedUsed() (n uint64, err error) {
	err = contained(func() error {
		for i := range t.pages {
			n += PageSize * uint64(bits.OnesCount64(t.pages[i].used.Load()))
		}
		return nil
	})
	return n, err
}

// Users adds to list the users of all used rows, in the order of these. It is cheaper than Processes.
func (t *Table) Users(list []shmsync.Peer) ([]shmsync.Peer, error) {
	err := contained(func() error {
		for i := range t.processes {
			if w := t.processes[i].word.Load(); isUsedWord(w) {
				list = append(list, shmsync.Peer{Row: i, Incarnation: wordIncarnation(w)})
			}
		}
		return nil
	})
	return list, err
}

// AwaitsKeeper reports whether a live segment is to be pinned, and no process keeps its object open yet. It takes no
// lock, and is cheap enough to be asked again and again. A handle that is not live is ErrNotFound.
func (t *Table) AwaitsKeeper(handle uint64) (is bool, err error) {
	err = contained(func() error {
		i, err := t.liveRow(handle)
		is = err == nil && pinOf(t.segments[i].pin.Load()) == pinWanted
		return err
	})
	return is, err
}
