package dsm

import (
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

// segmentLocked makes a Segment of one share of h, under owner. Own is its mapping, nil if it shares the holding's or
// lies in the session's mapping of the reserved region. An error is the owner's, which has ended since it was reserved:
// the caller detaches the Segment then, after it has released the lock. The caller holds Session.mu.
func (s *Session) segmentLocked(h *holding, own *ownMapping, tr *trail, owner *resowner.Owner) (*Segment, error) {
	a := s.enlistLocked(h)
	g := &Segment{handle: h.handle, size: h.held.Entry.Size, trail: tr, attachment: a, life: a.life}
	a.segment = g
	switch {
	case own != nil:
		a.own, a.bytes = own.mapping, own.part
		if s.checked && s.canReplace() && own.part != nil { // nil if it could not be mapped
			a.view = g.keepViewErrs(s.view.Over(own.part))
		}
	case h.held.Entry.Page != 0:
		a.bytes = instance.Part(s.member.Books.Region, &h.held.Entry)
	default:
		a.bytes = h.held.Part()
	}
	return g, leaksite.Remember(owner, &a.item, (*owned)(g), 4) // the caller of Create or Attach
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
