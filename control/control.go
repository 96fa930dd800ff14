// Package control keeps the books of an instance: which segments exist, which process holds which of them, and which
// processes are alive enough to hold anything. The books lie in the control segment, which every session has mapped.
//
// The package knows bytes and rules and no operating system. It works on a shm.Region, and it needs one thing from
// outside: a Witness, which tells the living processes from dead ones. So its tests run it over a heap slice, kill it
// between any two stores, fuzz it and garble its bytes without a system call.
//
// # What it adds, and what it does not promise
//
// Over a backend, which only makes, maps and removes objects, the package adds two things. References are bits, one for
// each process row, so exactly the references of a dead process can be given back. And every change that also concerns
// the operating system is written down before the system is asked, so that any process that is left can finish it.
//
// It does not promise that a backend's object exists, since a process may have removed it behind the back of the books.
// It does not promise anything about a segment's content. And it does not promise that the books are right at every
// moment: they are right outside of sections, and a process that dies in a section leaves a table that the next holder
// of the lock repairs before it looks at it.
//
// # Rules
//
// A segment row is free, creating, live or destroying. Creating and destroying rows name their agent, the
// process that is at work on the object outside the lock:
//
//	free -> creating(agent) -> live -> destroying(agent) -> free
//
// A process that finds an agent dead takes its place; no process takes the place of one that lives, however slow. The
// word with state and agent is one 64-bit store, and no other process relies on what its section stores after it. A
// live row with no bit and no pin exists only inside a section, or after its author died in one: the process that takes
// the lock over from a dead process repairs that.
//
// A process row is free or used, by an incarnation that goes up at each use. The member that uses a row holds its
// witness. A row whose witness is free is dead, and may be reclaimed by any process, or joined over: then the newcomer
// begins by reclaiming its predecessor.
//
// # Lock order
//
// The package has one lock, the control lock in the header. A stretch of work under it is a section. Functions whose
// names end in Locked are called inside a section and enter none. Sections do not nest, and a section takes no other
// lock but the Witness's own. It runs no callback of a program, and calls the system only to ask the Witness (Reclaim,
// Succeed, and the first section of a Join). Wake-ups are system calls too, and come after the section. The lock is the
// innermost of the library: a session enters a section with its own lock held, but then only by the calls that do not
// wait (TryCarve, TryUnref).
//
// # Reading without the lock
//
// Methods of Table read words without the lock, one after the other. Each word is whole, and two words need not belong
// together. Each field of the layout says what a stale read of it means. Bytes of the control segment are input: any
// process that has it mapped can garble them. A word is loaded once, the copy is checked, and the copy is used; what is
// invalid is ErrCorrupt, and so is a fault, which the system raises where an object was truncated under its mapping.
package control

import (
	"fmt"
	"hash/fnv"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
)

// Kinds of failure; package dsm exports the same values.
var (
	ErrNotFound         = errkind.NotFound         // the handle is of no live segment
	ErrTooManySegments  = errkind.TooManySegments  // each row of the segment table is in use
	ErrTooManyProcesses = errkind.TooManyProcesses // each row of the process table is in use
	ErrQuota            = errkind.Quota            // a limit on bytes or on segments per process
	ErrCorrupt          = errkind.Corrupt          // bytes that are invalid, or gone from under the mapping
	ErrStale            = errkind.Stale            // the instance is closing, or the member's row is another session's
	ErrClosed           = errkind.Closed           // the member has left
	ErrInUse            = errkind.InUse            // there is a supervisor, and it lives
)

// Witness knows which process rows have a living user. A session holds the witness of its row as long as it lives, and
// the kernel gives the witness back when its process is dead. The methods don't block and are safe for concurrent use.
// Held is also called inside sections, so it must not enter one.
type Witness interface {
	// Take acquires the row's witness for this process. It is false if another process has it.
	Take(row int) (bool, error)
	// Drop gives the row's witness back.
	Drop(row int) error
	// Held reports whether a process holds the row's witness, this process too. It may err to true for a moment after a
	// death, never to false: a false answer lets the caller take away what the row's user holds.
	Held(row int) bool
}

// successor is implemented by a Witness that asks a members file in whose place another one can come in force (Succeed).
type successor interface {
	// InForce reports whether the file in which this process takes rows is the one that is asked about them.
	InForce() bool
}

// inForce reports whether what is taken through w counts as alive. A Witness that is no successor is always in force.
func inForce(w Witness) bool {
	s, ok := w.(successor)
	return !ok || s.InForce()
}

// SupervisorRow is the process row of the supervisor. Join never takes it, JoinSupervisor takes no other.
const SupervisorRow = 0

// BusyError says that the control lock was unavailable in time, and which process holds it. It unwraps to the reason for
// which the wait ended: context.DeadlineExceeded or what else the caller's context gives as its cause.
type BusyError struct {
	Pid         int    // of the holder, as it sees itself; a holder in its first section may still bear its predecessor's
	Application string // of the holder, with the same exception
	Cause       error
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the control lock is held by process %d (%s): %v", e.Pid, e.Application, e.Cause)
}

func (e *BusyError) Unwrap() error { return e.Cause }

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
	if h.checksum, err = formatChecksum(r); err != nil {
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

// formatChecksum covers all that is constant but the magic and itself.
func formatChecksum(r shm.Region) (uint64, error) {
	b, err := r.Bytes(checksumFrom, checksumTo-checksumFrom)
	if err != nil {
		return 0, err
	}
	sum := fnv.New64a()
	sum.Write(b)
	return sum.Sum64(), nil
}
