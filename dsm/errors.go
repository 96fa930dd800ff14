package dsm

import (
	"context"
	"errors"
	"strings"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/instance"
)

// The kinds of failure, matched by errors.Is. ErrNotFound, ErrPermission, ErrSize, ErrClosed and ErrUnsupported
// match the standard library's kinds of the same meaning too: fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid,
// fs.ErrClosed and errors.ErrUnsupported.
var (
	ErrDisabled         = errkind.Disabled         // dynamic_shared_memory_type is none
	ErrNotFound         = errkind.NotFound         // no live segment has that handle
	ErrTooManySegments  = errkind.TooManySegments  // the segment table is full
	ErrTooManyProcesses = errkind.TooManyProcesses // the process table is full
	ErrNoSpace          = errkind.NoSpace          // no memory or disk for it; the text says what to raise
	ErrSize             = errkind.Size             // a size that no segment can have
	ErrPermission       = errkind.Permission
	ErrNoInstance       = errkind.NoInstance // no supervisor lives, and no session is left
	ErrInUse            = errkind.InUse      // another supervisor has the instance
	ErrCorrupt          = errkind.Corrupt    // invalid or missing bytes
	ErrStale            = errkind.Stale      // the instance has stopped, or begun a new generation
	ErrQuota            = errkind.Quota      // max_memory and its kin
	ErrClosed           = errkind.Closed     // the session, segment or owner has ended
	ErrUnsupported      = errkind.Unsupported
	ErrDeadlock         = errkind.Deadlock // the call would wait for the function that made it
	ErrNoMemory         = errkind.NoMemory // ErrQuota, ErrNoSpace and ErrTooManySegments match it: others have to give memory back
	ErrVersion          = errkind.Version  // the instance is of a program with another layout; the text says which to upgrade
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

var (
	errNoFunction = errors.New("the function to be called is nil")
	errNoContext  = errors.New("the context is nil: context.Background() is one that never ends")
)

// over returns why a call with that context must not begin; nil if it may.
func over(ctx context.Context) error {
	if ctx == nil {
		return errNoContext
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fail makes an *Error of err, unless it is one already.
func fail(op string, h Handle, backend string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { // and not one of several that are joined
		return e
	}
	return &Error{Op: op, Handle: h, Backend: backend, Err: instance.Explain(err)}
}
