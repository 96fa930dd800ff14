package dsm

import (
	"time"

	"github.com/godsm/godsm/shm"
)

// A lease keeps a segment's bytes mapped while a function uses them. It does not keep the segment from being detached,
// and it orders nothing between processes.

// lease returns the bytes and keeps them mapped until unlease; on a detached Segment it is ErrClosed.
func (g *Segment) lease() ([]byte, error) {
	a, is := g.lockAttached()
	if !is {
		return nil, g.errDetachedAt()
	}
	defer a.mu.Unlock()
	a.leases++
	return a.bytes, nil
}

// unlease ends a lease. The last one after a Detach does what that has left: it gives the attachment back, and lets the
// view be drained.
func (g *Segment) unlease() {
	a := g.attachment
	a.mu.Lock()
	a.leases--
	var lent shm.Lease
	if a.leases == 0 {
		lent, a.lent = a.lent, lent
	}
	last := a.lastUseLocked()
	a.mu.Unlock()
	if last {
		g.logErr(a.session.releaseAttachment(a))
	}
	// A Detach that came while f ran goes on from here: its view may be drained now.
	lent.Leave()
}

// waitUnswappedLeases waits until calls of structures have returned, on systems where Close cannot swap the mapped
// bytes for private ones. There such calls still work on the bytes that other processes have, and once the session has
// left, the other processes take it for dead and repair what its locks guard, while the call would go on storing. The
// view of the calls has ended, so they return soon. What outlives its call, such as a held entry, is waited for too,
// but no longer than a second.
func (s *Session) waitUnswappedLeases() {
	if s.canReplaceRange() {
		return
	}
	for end := time.Now().Add(patience); s.hasLeases() && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
}

// hasLeases reports whether a structure still holds a lease of a view that has ended.
func (s *Session) hasLeases() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		waits := a.life == a.segment.life && a.unhooked && a.view != nil && !a.drained
		a.mu.Unlock()
		if waits {
			return true
		}
	}
	return false
}
