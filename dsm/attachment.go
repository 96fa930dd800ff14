package dsm

import (
	"sync"

	"github.com/godsm/godsm/resowner"
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
	bytes      []byte

	mu       sync.Mutex
	life     uint64 // goes up when it is over
	item     resowner.Item
	hooks    *hook // the newest
	leases   int32
	detached bool // no new leases
	unhooked bool // the hooks have run
}

type hook struct {
	f     func()
	older *hook
}

// lock locks the attachment, if it is g's still.
func (g *Segment) lock() (a *attachment, is bool) {
	a = g.attachment
	a.mu.Lock()
	if a.life == g.life {
		return a, true
	}
	a.mu.Unlock()
	return nil, false
}

// hooking says whether a Detach is running hooks.
func (a *attachment) hooking() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.detached && !a.unhooked
}

// lockAttached is lock for those who are too late once g is detached.
func (g *Segment) lockAttached() (a *attachment, is bool) {
	if a, is = g.lock(); is && a.detached {
		a.mu.Unlock()
		return nil, false
	}
	return a, is
}

// lastUse says, once and under the lock, that nobody uses the bytes any more. From there on the attachment is
// the caller's, to give back.
func (a *attachment) lastUse() bool {
	if !a.unhooked || a.leases > 0 {
		return false
	}
	a.life++
	return true
}

// enlist takes an attachment for a new Segment of h, under the session's lock.
func (s *Session) enlist(h *holding) *attachment {
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

// unlist gives an attachment that is over back, under the session's lock.
func (s *Session) unlist(a *attachment) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		s.attachments = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.segment, a.holding, a.bytes = nil, nil, nil
	a.next, s.spareAttachments = s.spareAttachments, a
}
