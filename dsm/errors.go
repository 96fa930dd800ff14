package dsm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/shm"
)

// The kinds of failure, matched by errors.Is. ErrNotFound, ErrPermission, ErrSize, ErrClosed and ErrUnsupported
// match the standard library's kinds of the same meaning too: fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid,
// fs.ErrClosed and errors.ErrUnsupported.
var (
	// ErrDisabled is returned where dynamic_shared_memory_type is none.
	ErrDisabled = errkind.Disabled
	// ErrNotFound is returned for a handle that no live segment has.
	ErrNotFound = errkind.NotFound
	// ErrTooManySegments is returned when the segment table is full (max_segments), after dead sessions were reclaimed.
	ErrTooManySegments = errkind.TooManySegments
	// ErrTooManyProcesses is returned when the process table is full (max_processes), after dead sessions were
	// reclaimed.
	ErrTooManyProcesses = errkind.TooManyProcesses
	// ErrNoSpace is returned when the system has no memory or disk left; the text says what to raise.
	ErrNoSpace = errkind.NoSpace
	// ErrSize is returned for a size that no segment can have.
	ErrSize = errkind.Size
	// ErrPermission is returned when the system, or the owner of a directory, does not permit the call.
	ErrPermission = errkind.Permission
	// ErrNoInstance is returned where no supervisor lives, and no session is left.
	ErrNoInstance = errkind.NoInstance
	// ErrInUse is returned when another supervisor has the instance.
	ErrInUse = errkind.InUse
	// ErrCorrupt is returned for invalid or missing bytes.
	ErrCorrupt = errkind.Corrupt
	// ErrMismatch is returned by AttachAs for a segment that does not hold what it is attached as.
	ErrMismatch = errkind.Mismatch
	// ErrStale is returned when the instance has stopped, or begun a new generation: open another session.
	ErrStale = errkind.Stale
	// ErrQuota is returned at max_memory and the other limits of the settings.
	ErrQuota = errkind.Quota
	// ErrClosed is returned when the session, segment or owner has ended.
	ErrClosed = errkind.Closed
	// ErrUnsupported is returned for what the system or the backend can't do.
	ErrUnsupported = errkind.Unsupported
	// ErrDeadlock is returned when the call would wait for the function that made it.
	ErrDeadlock = errkind.Deadlock
	// ErrNoMemory is matched by ErrQuota, ErrNoSpace and ErrTooManySegments: others have to give memory back.
	ErrNoMemory = errkind.NoMemory
	// ErrVersion is returned for an instance of a program with another layout; the text says which to upgrade.
	ErrVersion = errkind.Version
)

// Error is the one carrier of failures: what was being done, to which segment, by which backend, and why it
// failed. Kinds and the system's own errors are found in Err by errors.Is and errors.As.
type Error struct {
	Op      string // "create", "attach", ...
	Handle  Handle // 0 if none is concerned
	Backend string // empty if none is concerned
	Err     error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dsm: ")
	b.WriteString(e.Op)
	if e.Handle != 0 {
		b.WriteString(" segment ")
		b.WriteString(e.Handle.String())
	}
	if e.Backend != "" {
		b.WriteString(" (")
		b.WriteString(e.Backend)
		b.WriteString(")")
	}
	if e.Err != nil { // the zero Error has none
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Errors of calls that are wrong in any session, whatever its state.
var (
	errNoFunction = errors.New("the function to be called is nil")
	errNoContext  = errors.New("the context is nil: context.Background() is one that never ends")
)

// errIfOver returns why a call with that context must not begin; nil if it may.
func errIfOver(ctx context.Context) error {
	if ctx == nil {
		return errNoContext
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// wrapErr makes an *Error of err, unless it is one already.
func wrapErr(op string, h Handle, backend string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { // and not one of several that are joined
		return e
	}
	return &Error{Op: op, Handle: h, Backend: backend, Err: instance.Explain(err)}
}

// errOfFault makes an error of r, what a panic carried, if that is a fault, and gives back what was locked in the scope.
// Any other panic goes on, and locks stay as they are. A fault at an address that this session does not know is passed
// to the Contain around this one, whose session may know it.
func (s *Session) errOfFault(r any, in *scope.Scope) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	// Before the error is made: other processes may wait for these locks.
	in.Abandon()
	if err := s.errIfTruncated(f.Addr(), r); err != nil {
		return err
	}
	if err := shm.Fault(r); err != nil {
		return wrapErr("contain", 0, s.backend(), err)
	}
	if in.Inner() { // perhaps it is the outer one's session that knows the bytes
		panic(r)
	}
	return wrapErr("contain", 0, s.backend(), errkind.As(ErrClosed, fmt.Errorf("no segment that is attached has bytes at "+
		"address %#x: it was detached, or is of another session (%w)", f.Addr(), error(f))))
}

// errIfTruncated returns the error of a fault, r, at an address where a segment is mapped, and nil if no segment of the
// session is mapped there.
func (s *Session) errIfTruncated(addr uintptr, r any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		// makeView may have given the Segment another mapping since the fault; the one before is looked at next.
		b := a.bytes
		a.mu.Unlock()
		if !addressWithin(addr, b) {
			b = s.holdingBytesLocked(a.holding) // which Bytes returned before the first Region
		}
		if g := a.segment; g != nil && addressWithin(addr, b) {
			return g.fail("use", g.errOfFaultInWith(r, b))
		}
	}
	return nil
}

// errOutside returns the error of an offset before the segment's begin.
func (g *Segment) errOutside(op string, off int64) error {
	return g.fail(op, errors.New("negative offset "+fmt.Sprint(off)))
}

// errOfFaultInWith makes an error of r, what a panic in With carried, if that is a fault in the bytes that are lent,
// or in bytes that have ended. Any other panic goes on.
func (g *Segment) errOfFaultInWith(r any, lent []byte) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	if addressWithin(f.Addr(), lent) {
		return fmt.Errorf("%w: byte %d is gone from under the mapping%s: %s (%w)", ErrCorrupt,
			f.Addr()-address(lent), g.trailText(), g.sessionOf().member.Books.FaultCause(&g.attachment.holding.held.Entry), error(f))
	}
	if err := shm.Fault(r); err != nil {
		return err
	}
	panic(r)
}

// ignoreNoInstance returns err, but nil if it says that there is no instance, or none with events.
func ignoreNoInstance(err error) error {
	if errors.Is(err, ErrNoInstance) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
