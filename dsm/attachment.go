package dsm

import (
	"sync"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
)

// attachment is what a Segment needs while it lasts. The session uses it again for other Segments: cold memory,
// and the garbage collector's work, would cost a third of a Create in the reserved region. So it is a Segment's as
// long as both have the same life, and nobody looks at more of it before he knows that.
type attachment struct {
	session *Session

	// Under Session.mu, or the caller's who gives it back:
	segment    *Segment
	prev, next *attachment // in the session's list, or among the spare ones
	holding    *holding

	bytes []byte // set once more by makeView; under mu

	mu       sync.Mutex
	life     uint64 // goes up when it is over
	item     resowner.Item
	hooks    *hook           // the newest
	view     *shm.View       // of bytes; nil until it is asked for, but in checked mode
	own      dsmimpl.Mapping // of this Segment alone; none if it uses the holding's, or the session's region
	leases   int32
	detached bool      // no new leases
	unhooked bool      // the hooks have run
	drained  bool      // no lease of the view is left
	lent     shm.Lease // of the view, for functions of With that run over Detach
	parked   bool      // it is over, and Close is to give it back; under Session.mu
	kept     bool      // it is over, but a view of bytes that could not be swapped is still in use; under Session.mu
	claimed  bool      // and a goroutine is about to release it, since the view is not; under Session.mu
	running  *hook
}

// lock locks the attachment, if it is g's still.
func (g *Segment) lock() (a *attachment, is bool) {
	a = g.attachment
	if a == nil { // the zero Segment
		return nil, false
	}
	a.mu.Lock()
	if a.life == g.life {
		return a, true
	}
	a.mu.Unlock()
	return nil, false
}

// lockAttached is lock for those who are too late once g is detached.
func (g *Segment) lockAttached() (a *attachment, is bool) {
	if a, is = g.lock(); is && a.detached {
		a.mu.Unlock()
		return nil, false
	}
	return a, is
}

// lastUseLocked reports, once, that nothing uses the bytes any more. From there on the attachment is the caller's, to give
// back. The caller holds attachment.mu.
func (a *attachment) lastUseLocked() bool {
	if !a.unhooked || a.leases > 0 || a.view != nil && !a.drained {
		return false
	}
	a.life++
	return true
}

// overLocked reports whether nothing but calls of structures, whose leases do not stop the end of a session, uses the bytes.
// From there on the attachment is the caller's. Released reports that it is another goroutine's, which is about to call
// release. The caller holds Session.mu.
func (a *attachment) overLocked() (over, released bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.life != a.segment.life {
		return false, true
	}
	if !a.unhooked || a.leases > 0 {
		return false, false
	}
	a.life++
	return true, false
}

// enlistLocked takes an attachment for a new Segment of h. The caller holds Session.mu.
func (s *Session) enlistLocked(h *holding) *attachment {
	a := s.spareAttachments
	if a != nil {
		s.spareAttachments = a.next
		a.detached, a.unhooked = false, false
	} else {
		a = &attachment{session: s}
	}
	a.holding = h
	a.prev, a.next = nil, s.attachments
	if a.next != nil {
		a.next.prev = a
	}
	s.attachments = a
	return a
}

// unlistLocked takes an attachment that is over out of the session's list, to be used again. The caller holds Session.mu.
func (s *Session) unlistLocked(a *attachment) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		s.attachments = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.segment, a.holding, a.bytes = nil, nil, nil
	if a.view != nil || a.own.Bytes != nil || a.parked || a.kept {
		a.own, a.view, a.drained, a.lent = dsmimpl.Mapping{}, nil, false, shm.Lease{}
		a.parked, a.kept, a.claimed = false, false, false
	}
	a.next, s.spareAttachments = s.spareAttachments, a
}
