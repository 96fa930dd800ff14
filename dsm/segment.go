package dsm

import (
	"context"
	"io"
	"runtime/debug"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/leaksite"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
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

func (g *Segment) sessionOf() *Session { return g.attachment.session }

// segmentLocked makes a Segment of one share of h, under owner. Own is its mapping, nil if it shares the holding's or
// lies in the session's mapping of the reserved region. An error is the owner's, which has ended since it was reserved:
// the caller detaches the Segment then, after it has released the lock. The caller holds Session.mu.
func (s *Session) segmentLocked(h *holding, own *ownMapping, tr *trail, owner *resowner.Owner) (*Segment, error) {
	a := s.enlistAttachmentLocked(h)
	g := &Segment{handle: h.handle, size: h.held.Entry.Size, trail: tr, attachment: a, life: a.life}
	a.segment = g
	switch {
	case own != nil:
		a.own, a.bytes = own.mapping, own.part
		if s.checked && s.canReplaceRange() && own.part != nil { // nil if it could not be mapped
			a.view = g.keepViewErrs(s.view.Over(own.part))
		}
	case h.held.Entry.Page != 0:
		a.bytes = instance.Part(s.member.Books.Region, &h.held.Entry)
	default:
		a.bytes = h.held.Part()
	}
	return g, leaksite.Remember(owner, &a.item, (*owned)(g), 4) // the caller of Create or Attach
}

// newestUnownedSegment returns a Segment that is still attached, the newest first, and nil if there is none.
func (s *Session) newestUnownedSegment() *Segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		attached := !a.detached
		a.mu.Unlock()
		if attached {
			return a.segment
		}
	}
	return nil
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
	g, err := s.tryCreateLocked(size, owner)
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

// Region returns the segment's bytes as a shm.Region, for the structures of package shm. The Region carries a View that
// ends when the Segment is detached or the session is closed; a structure in the bytes asks it. From the end on what
// this process still does with the Region reaches no other process: the bytes are swapped for private zeros, at which
// nothing faults (in checked mode they become inaccessible).
//
// For that the first call gives the Segment a mapping of its own, which takes some microseconds if it shares one with
// other Segments or lies in the reserved region; Bytes returns that mapping from then on. On Windows the private pages
// are copies: they hold what the segment held, and before the first store to them what others store.
//
// Where the backend can't swap, or the system has refused to, the bytes stay mapped as long as the View is in use. Late
// stores then reach that one segment, which to others is detached. If it lies in the reserved region it stays this
// session's, and the session in the list, as long; but where the backend can't swap no segment is made there.
//
// After Detach the Region is empty, and its View has ended.
func (g *Segment) Region() shm.Region {
	a, is := g.lockAttached()
	if !is {
		return shm.Region{}.Under(ended)
	}
	b, v := a.bytes, a.view
	a.mu.Unlock()
	if v == nil {
		b, v = g.makeView()
	}
	return shm.NewRegion(b).Under(v)
}

// With lends the bytes to f and returns f's error. While f runs they stay mapped, even over a Detach or a Close of the
// session, which is then listed as closing and keeps its row, and so its locks, until f returns. f must not keep the
// bytes.
//
// A fault in f's own goroutine, as when another process has truncated the object, is ErrCorrupt and not the end of the
// process. On a detached segment With is ErrClosed, without a call of f; so is, in checked mode, a fault in f at a
// slice of any segment that was kept past its Detach. In checked mode the errors include where the segment was attached
// and detached. Other panics go on. An error of f's own is returned as it is. Several goroutines may be in With at
// once.
func (g *Segment) With(f func(b []byte) error) (err error) {
	if f == nil {
		return g.fail("use", errNoFunction)
	}
	b, err := g.lease()
	if err != nil {
		return g.fail("use", err)
	}
	defer g.unlease()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = g.fail("use", g.errOfFaultInWith(r, b))
		}
	}()
	return f(b)
}

// ReadAt copies from the segment into p, as io.ReaderAt says. Off is in bytes; at the end it returns io.EOF. The copy
// is not atomic: other processes may write while it runs. A fault is an error, as in With.
func (g *Segment) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.errOutside("read", off)
	}
	err = g.With(func(b []byte) error {
		if off < int64(len(b)) {
			n = copy(p, b[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt copies p into the segment, as io.WriterAt says. What reaches beyond the segment's end is not written, and the
// error is io.ErrShortWrite then. The copy is not atomic. A fault is an error, as in With.
func (g *Segment) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.errOutside("write", off)
	}
	err = g.With(func(b []byte) error {
		if off < int64(len(b)) {
			n = copy(b[off:], p)
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// MoveTo makes another owner the one that ends the attachment: Session.Owner, or nil, for session lifetime, a narrower
// one for less. If the new owner has ended, or the old one is just ending the attachment, it is ErrClosed, and
// nothing changes.
func (g *Segment) MoveTo(owner *resowner.Owner) error {
	if g.attachment == nil {
		return g.fail("move", g.errDetachedAt())
	}
	if owner == nil {
		owner = g.sessionOf().owner
	}
	err := owner.Reserve()
	if err == nil {
		err = g.moveTo(owner)
	}
	return g.fail("move", err)
}

// moveTo takes the attachment from its owner and gives it to another. In between it has none; attachment.mu keeps
// Detach out for that time. If both owners have ended, the Segment is detached in another goroutine, since Detach takes
// the lock that is held here.
func (g *Segment) moveTo(owner *resowner.Owner) error {
	a, is := g.lockAttached()
	if !is {
		return g.errDetachedAt()
	}
	defer a.mu.Unlock()
	// Forget is what decides between this call and an owner that ends: only one of them gets the item.
	old := a.item.Owner()
	if !a.item.Forget() {
		return ErrClosed // its owner is just ending it
	}
	err := leaksite.Remember(owner, &a.item, (*owned)(g), 2)
	if err != nil && leaksite.Remember(old, &a.item, (*owned)(g), 2) != nil {
		go g.Detach() // both have ended meanwhile
	}
	return err
}
