package dsm

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/resowner"
)

// Segment is one attachment of a piece of shared memory. Several in one process may share a mapping; each ends for
// itself. All methods are safe for concurrent use.
//
// A Segment ends once: by Detach, with its owner, or with the session. Afterwards its methods return ErrClosed, or
// nothing, and have no effect. The zero Segment belongs to no session and has ended.
type Segment struct {
	handle Handle
	size   int
	// trail is where it was attached and detached, in checked mode; else nil.
	trail      *trail
	attachment *attachment
	// life is the attachment's, as long as that is this Segment's; see attachment.
	life uint64
	// told holds the errors of its view; nil without one.
	told *viewErrs
}

// Create makes a segment of size bytes, all zero, and attaches it; owner ends the attachment, and nil means
// Session.Owner. If nothing else holds the segment then, it is removed.
//
// Create may wait for the control lock, for at most as long as ctx lasts. Large segments take time (about 0.3 ms for
// each MB on tmpfs), since the memory is reserved here; ctx is checked on the way. A segment in the reserved region, of
// at most 16 KiB, takes some hundred nanoseconds and makes no system call.
//
// What the system can't give is ErrNoSpace. A full segment table is ErrTooManySegments, a limit of the settings
// ErrQuota, and a size below 1 ErrSize. If Create fails it leaves nothing behind.
func (s *Session) Create(ctx context.Context, owner *resowner.Owner, size int) (*Segment, error) {
	g, err := s.makeSegment(ctx, owner, size)
	if err != nil {
		return nil, s.errOfCreate(size, err)
	}
	return g, nil
}

// errOfCreate returns the error of a Create that make's err is for.
func (s *Session) errOfCreate(size int, err error) error {
	return wrapErr("create", 0, s.backend(), fmt.Errorf("%d bytes: %w", size, err))
}

// makeSegment does what Create does, without the Error around the error. Its caller is a function of the package's
// face, so that a leak is reported at the line that has called that one. Under Session.mu it tries the reserved
// region, which does not wait; else it counts itself as a call in flight and goes the long way without the lock.
func (s *Session) makeSegment(ctx context.Context, owner *resowner.Owner, size int) (*Segment, error) {
	if err := errIfOver(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	err := s.err
	if s.member == nil {
		err = errUnopened
	}
	if err == nil {
		err = dsmimpl.CheckSize(size)
	}
	if owner == nil {
		owner = s.owner
	}
	if err == nil {
		err = owner.Reserve()
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	// The short way: no wait, no system call, and no count of calls, since the lock is held all the time.
	g, err := s.tryMakeLocked(size, owner)
	if g != nil || err != nil {
		s.mu.Unlock()
		return g.detachIfErr(err)
	}
	// The long way. Close waits from here on until attached or end.
	s.calls++
	s.mu.Unlock()
	h, err := s.createHolding(ctx, size)
	if err != nil {
		s.endCall()
		return nil, err
	}
	return s.attachShare(h, owner)
}

// Attach maps the segment with that handle, for reading and writing; owner ends the attachment, and nil means
// Session.Owner. A handle that is not, or no longer, live is ErrNotFound.
//
// A second Attach of a handle in one process shares the mapping, except in checked mode; it makes no system call. The
// first one may wait for the control lock, and for another goroutine that attaches or detaches the segment, while ctx
// lasts.
func (s *Session) Attach(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	g, err := s.attachSegment(ctx, owner, h)
	if err != nil {
		return nil, wrapErr("attach", h, s.backend(), err)
	}
	return g, nil
}

// attachSegment does what Attach does, without the Error around the error. Its caller is as make's. Two orders matter.
// The call is counted as in flight before the owner is reserved, so that Close, which ends the owners, waits for it;
// and the owner is reserved before the segment is referred to, so that what is acquired can be remembered.
// (Owner.Reserve fails early; Owner.Remember may still fail later, if the owner has ended by then.)
func (s *Session) attachSegment(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	if err := errIfOver(ctx); err != nil {
		return nil, err
	}
	if owner == nil {
		owner = s.owner
	}
	// The short way: the handle is mapped here already.
	if g, err := s.shareHolding(h, owner); g != nil || err != nil {
		return g, err
	}
	if err := s.beginCall(ctx); err != nil {
		return nil, err
	}
	hold, err := (*holding)(nil), owner.Reserve()
	if err == nil {
		hold, err = s.acquireHolding(ctx, h)
	}
	if err != nil {
		s.endCall()
		return nil, err
	}
	return s.attachShare(hold, owner)
}

// Handle returns the name of the segment, with which other processes attach it. It stays valid after Detach.
func (g *Segment) Handle() Handle { return g.handle }

// Size returns the number of bytes that Create was asked for.
func (g *Segment) Size() int { return g.size }

// Bytes returns the segment's memory; it does not copy. The slice is valid until Detach or the end of the session: to
// keep it does not keep the segment. After Detach Bytes returns nil.
//
// Accesses are not ordered against those of other processes: use atomics, or the structures of package shm. A fault
// while the slice is valid, as when another process has truncated the object, ends the process; With and
// Session.Contain turn it into an error.
//
// What a use of the slice after its end does:
//
//   - Once the session is closed, loads find zeros and stores reach no other process, at least until the process has
//     ended 16,384 more mappings (on 32 bits 256 MiB of them).
//   - On Windows that holds until the process has ended 64 MiB more, and loads may find other bytes than zeros.
//   - After the Detach of one Segment it holds only if Region was called before. Else a late use faults, or reaches
//     what was mapped there next or, in the reserved region, the next segment's bytes.
//   - In checked mode every late use faults. The fault is an error that names the lines that attached and detached
//     inside With, and with shm.Fault in any goroutine that has called debug.SetPanicOnFault(true) and recovers. It
//     ends the process elsewhere, in cgo, and while the runtime itself is at work on the bytes. A system call that is
//     given the bytes fails with EFAULT.
func (g *Segment) Bytes() []byte {
	a, is := g.lockAttached()
	if !is {
		return nil
	}
	defer a.mu.Unlock()
	return a.bytes
}

// logErr logs an error that no call can return.
func (g *Segment) logErr(err error) {
	if err != nil {
		g.sessionOf().log.Warn().Err(err).Stringer("handle", g.Handle()).Str("event", "detach-failed").Msg("detach")
	}
}

// fail makes an *Error of err that names the operation and the segment.
func (g *Segment) fail(op string, err error) error {
	if g.attachment == nil {
		return wrapErr(op, 0, "", err)
	}
	return wrapErr(op, g.Handle(), g.sessionOf().backend(), err)
}

// errIfDetached returns ErrClosed, with a reason, if g is detached, and nil if it is attached.
func (g *Segment) errIfDetached() error {
	a, is := g.lockAttached()
	if !is {
		return g.errDetachedAt()
	}
	a.mu.Unlock()
	return nil
}

func (g *Segment) sessionOf() *Session { return g.attachment.session }
