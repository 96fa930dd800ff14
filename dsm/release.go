package dsm

import (
	"errors"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
)

// The way down from the last use of a Segment's bytes: its own mapping is withdrawn, its share of the holding goes
// back, and the last share gives up mapping and reference. Which goroutine does that is decided by attachment.life: the
// one that has raised it, and no other.

// releaseAttachment gives an attachment back whose last use is over, and its share of the holding. The last share
// unmaps the segment and drops the session's reference. The caller has raised the attachment's life.
//
// While Close gives everything back (sessionReturning) it leaves the attachment to Close, which swaps bytes in an order
// of its own. It waits, for the control lock, only if the reference can't be dropped at once.
func (s *Session) releaseAttachment(a *attachment) error {
	s.mu.Lock()
	if s.state == sessionReturning {
		a.parked = true
		s.idle.Broadcast()
		s.mu.Unlock()
		return nil
	}
	// The short way, of most Segments: nothing to withdraw, so one lock does.
	if a.own.Bytes == nil && a.view == nil && !s.state.begun() {
		rest := s.releaseShareLocked(a)
		s.mu.Unlock()
		return s.releaseShareRest(rest)
	}
	s.calls++
	s.mu.Unlock()
	// System calls, without the lock. The count of calls keeps the session's mappings.
	gone, err := s.withdrawOwnMapping(a)
	if s.state == sessionLent { // it does not change before this attachment is given back
		err = errors.Join(err, s.swapRegionPart(a))
	}
	s.mu.Lock()
	s.endCallLocked()
	var rest shareRest
	if gone {
		rest = s.releaseShareLocked(a)
	}
	s.mu.Unlock()
	return errors.Join(err, s.releaseShareRest(rest))
}

// releaseKept releases an attachment once the view that has kept it is in use no longer. If Close has taken it first,
// or another call has claimed it, there is nothing to do.
func (s *Session) releaseKept(a *attachment) error {
	s.mu.Lock()
	is := a.kept && !a.claimed
	a.claimed = a.claimed || is
	s.mu.Unlock()
	if !is {
		return nil
	}
	return s.releaseAttachment(a)
}

// rest is what remains to be done without the session's lock after a share was returned. The zero rest is nothing.
type shareRest struct {
	// holding is to be given up, and is in motion; nil if that was done, or other Segments share it.
	holding *holding
	// later means that the reference stays until the session gives up its row.
	later bool
	// quits means that these were the last bytes that Close had lent: this call ends the session.
	quits bool
}

// releaseShare gives back what is left of an attachment that is over: its share of the holding and, if that was the
// last, the holding. It may wait for the control lock.
func (s *Session) releaseShare(a *attachment) error {
	s.mu.Lock()
	rest := s.releaseShareLocked(a)
	s.mu.Unlock()
	return s.releaseShareRest(rest)
}

// releaseShareLocked does the part of releaseShare that does not wait. The caller holds Session.mu, and calls
// releaseShareRest when it has released it. A rest with a holding counts as a call in flight, so Close waits for it.
func (s *Session) releaseShareLocked(a *attachment) shareRest {
	h := a.holding
	s.unlistAttachmentLocked(a)
	r := shareRest{quits: s.state == sessionLent && s.attachments == nil}
	if h.shared--; h.shared > 0 {
		return r
	}
	r.later = s.state.begun() && h.held.Entry.Page != 0 && regionSharesPages()
	if !r.later && s.member.TryGive(&h.held) { // nothing is mapped, and nothing waits
		s.endReleaseLocked(h, instance.Held{})
		return r
	}
	s.calls++
	h.state = moving
	r.holding = h
	return r
}

// releaseShareRest does what releaseShareLocked has left: it gives the holding up, and ends the session if that is
// due. It is called without locks.
func (s *Session) releaseShareRest(r shareRest) (err error) {
	if h := r.holding; h != nil {
		var lingers instance.Held
		lingers, err = s.releaseHolding(h, r.later)
		s.destroyOwed()
		s.mu.Lock()
		s.endReleaseLocked(h, lingers)
		s.endCallLocked()
		s.mu.Unlock()
	}
	if r.quits {
		err = errors.Join(err, s.endIfAllReturned())
	}
	return err
}

// releaseHolding gives up what a holding in motion holds: the mapping, the reference and, if that was the last one,
// the segment. Once the end of the session has begun the mapping is withdrawn before it is unmapped, since goroutines
// may still use it. If later is set the reference is left for the end of the session, and lingers.
func (s *Session) releaseHolding(h *holding, later bool) (lingers instance.Held, err error) {
	held := h.held
	var ended error
	if s.state.begun() && held.Mapping.Bytes != nil {
		_, ended = s.withdrawMapping(held.Mapping, false, nil, nil, nil)
		held.Mapping = dsmimpl.Mapping{}
	}
	if later {
		return held, ended
	}
	lingers, err = s.member.Give(held)
	return lingers, errors.Join(ended, err)
}

// endReleaseLocked ends the motion of a holding that is mapped no longer. It lingers if a reference is left; else it
// leaves the table and is spare, and the caller must not use it any more. The caller holds Session.mu.
func (s *Session) endReleaseLocked(h *holding, lingers instance.Held) {
	if lingers.Entry.Handle != 0 {
		h.held = lingers
		h.setIdleLocked(lingering)
		return
	}
	s.table.remove(h)
	h.setIdleLocked(moving)
	h.next, s.spareHoldings = s.spareHoldings, h
}

// releaseIf calls note under attachment.mu and releases the attachment if that was its last use. If the attachment is
// another Segment's already it does nothing.
func (g *Segment) releaseIf(a *attachment, note func()) error {
	a.mu.Lock()
	last := a.life == g.life
	if last {
		note()
		last = a.lastUseLocked()
	}
	a.mu.Unlock()
	if !last {
		return nil
	}
	return a.session.releaseAttachment(a)
}
