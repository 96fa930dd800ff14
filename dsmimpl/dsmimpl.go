// Package dsmimpl is the contract between the subsystem and the operating-system mechanisms that shared
// memory can come from. Each mechanism is a backend in a folder of its own: posix, sysv, mmapfile, windows,
// none. Package catalog turns a setting into one of them; package dsmimpltest judges them all by one suite.
//
// A backend makes, maps, unmaps and removes one named piece of memory, and that is all. It keeps no
// list, counts no references, and does not know who else has a piece mapped: that is package control's work,
// which writes down what it is about to do before it asks a backend to do it. So a backend may be
// killed between any two system calls and owes no process a repair; what it must do is leave nothing behind
// when it returns an error, and never touch an object that it cannot show to be the one it was asked for.
package dsmimpl

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/google/uuid"
)

// Kinds of failure that a backend reports, matched by errors.Is; package dsm exports the same values.
// A name that is already taken is fs.ErrExist, after which the caller asks again under another handle.
var (
	ErrDisabled    = errkind.Disabled
	ErrNotFound    = errkind.NotFound
	ErrNoSpace     = errkind.NoSpace
	ErrSize        = errkind.Size
	ErrPermission  = errkind.Permission
	ErrUnsupported = errkind.Unsupported
)

// Backend is one operating-system mechanism. All methods may be called concurrently.
type Backend interface {
	// Name is the value of dynamic_shared_memory_type that selects the backend, at most 15 bytes.
	Name() string

	// Create makes the object, filled with zeros, and maps it read-write. Its memory is reserved where the
	// system can reserve, so that a full system is ErrNoSpace here and not a fault later. It is exclusive:
	// a name in use is fs.ErrExist and the object found there is left alone. A size <= 0 is ErrSize.
	// Long work looks at ctx between steps. On any error nothing is left behind.
	//
	// The word is what the backend wants to be told again in Object.Word by Attach and Destroy.
	Create(ctx context.Context, o Object) (m Mapping, word uint64, err error)

	// Attach maps an existing object. Object.Size is how much the caller expects, 0 for all there is; an
	// object that holds less is an error. A missing object is ErrNotFound.
	Attach(ctx context.Context, o Object, a Access) (Mapping, error)

	// Detach unmaps; the slice must not be used afterwards. The object stays.
	Detach(m Mapping) error

	// Destroy removes the object, mapped or not; those who have it mapped keep their bytes. A missing
	// object is success. Object.Word may be 0: then the creator died (or failed) before it could
	// write the word down, and the object may or may not exist.
	Destroy(ctx context.Context, o Object) error
}

// Object says which piece of memory is meant. A backend derives the system's name or key from it.
type Object struct {
	Life       uuid.UUID // drawn when the control segment that lists it was made
	Generation uint64    // that one's number
	Handle     uint64    // 48 random bits and, in the low 16, the number of its row; ControlHandle, RegionHandle
	Size       int       // bytes asked for
	Word       uint64    // what Create returned; 0 if not known
	CreatorPid int       // as the creator saw itself; 0 if not known
}

// ControlHandle and RegionHandle stand for the control segment and the reserved region where a
// handle is wanted. No segment has them: a segment's row is below 65,534.
const (
	ControlHandle uint64 = 0xffff
	RegionHandle  uint64 = 0xfffe
)

// Access says how a mapping may be used. Writing to a ReadOnly mapping faults.
type Access int

const (
	ReadWrite Access = iota
	ReadOnly
)

// Mapping is an object's bytes in this process.
type Mapping struct {
	Bytes []byte  // exactly the size asked for; starts on a page
	Token uintptr // the backend's own (a Windows handle)
}

// Lister is implemented by backends that can enumerate what exists in the system, without help from a
// control segment. It returns the objects that can be shown to be of that life, and nothing that is not. A backend
// whose objects don't bear their generation returns them as objects of the one it is given, and of Handle only the row.
type Lister interface {
	List(ctx context.Context, life uuid.UUID, generation uint64) ([]Object, error)
}

// Prober is implemented by backends that can report whether memory is in use without knowing by whom. The answer decides
// whether what seems to be left behind may be removed.
type Prober interface {
	// InUse reports whether any process has the object open or mapped, also one that can't be seen from here: in
	// another mount or pid namespace, in another directory with the same contents. The caller's own mappings count. A
	// missing object is ErrNotFound; where the system can't tell the error is ErrUnsupported.
	InUse(ctx context.Context, o Object) (bool, error)

	// Memory names, for people and for comparison, the memory that this process finds objects in: a mount, an ipc
	// namespace. Empty if it can't be told.
	Memory() string
}

// Row returns the number of the control segment's row that lists the object.
func (o Object) Row() int { return int(o.Handle & 0xffff) }

// Locator is implemented by backends whose objects a person can find with other tools: a path, or what
// ipcs would show.
type Locator interface {
	Locate(o Object) string
}

// Pinner is implemented by backends whose objects vanish with the last process that has them open, so
// that a pin needs a process to keep them open: the supervisor.
type Pinner interface {
	// Keep opens the object without mapping it; the object lives at least until Release(token).
	Keep(o Object) (token uintptr, err error)
	Release(token uintptr) error
}

// Guarder is implemented by backends that can put an inaccessible range in a mapping's place, so that
// a slice kept too long faults and never reads what is mapped next. The range stays until Unguard.
type Guarder interface {
	DetachGuarded(m Mapping) error
	Unguard(m Mapping) error
}

// Swapper is implemented by backends that can put private memory in the place of mapped bytes, in one step for each
// page: a load or store of another thread finds either the object or the private page, and never nothing. From then on
// what this process does there reaches no other process, and to the system the object is as if it were not mapped.
type Swapper interface {
	// Swap puts private pages in the place of the bytes of m from one position to another: of zeros or, of a Loosener,
	// of what the object holds when a page is first written to. From is on a page, and to is on one or is the end of m.
	Swap(m Mapping, from, to int) error
	// Unswap gives the address range of m back, of which all bytes have been swapped.
	Unswap(m Mapping) error
}

// Loosener is implemented by backends that can let go of an object and keep its bytes mapped: to other processes and
// to the system it is then as if it were not mapped, but for its memory, which is taken as long. That goes for bytes that
// were guarded or swapped, too.
type Loosener interface {
	// Loosen returns what is left of m, for Detach, Unguard or Unswap. It can't fail.
	Loosen(m Mapping) Mapping
}

// PartAttacher is implemented by backends that can map a part of an object.
type PartAttacher interface {
	// AttachPart maps the pages that hold the size bytes at byte at of an existing object, for reading and writing.
	// Part are those bytes in m. Errors are those of Attach.
	AttachPart(ctx context.Context, o Object, at, size int) (m Mapping, part []byte, err error)
}

// CheckSize makes the check that every Create begins with.
func CheckSize(n int) error {
	if n <= 0 {
		return errkind.As(ErrSize, fmt.Errorf("a segment of %d bytes: the size must be at least 1", n))
	}
	return nil
}
