package dsm

import (
	"errors"
	"runtime"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
)

// release gives an attachment back whose last use is over, and its share of the holding; the last share unmaps and gives
// the reference back. While Close runs it leaves that to Close.
func (s *Session) release(a *attachment) error {
	s.mu.Lock()
	if s.state == sessionReturning {
		a.parked = true
		s.idle.Broadcast()
		s.mu.Unlock()
		return nil
	}
	if a.own.Bytes == nil && a.view == nil && !s.state.begun() {
		rest := s.returnShareLocked(a)
		s.mu.Unlock()
		return s.giveRest(rest)
	}
	s.calls++
	s.mu.Unlock()
	gone, err := s.withdrawOf(a)
	if s.state == sessionLent { // it does not change before this attachment is given back
		err = errors.Join(err, s.swapPart(a))
	}
	s.mu.Lock()
	s.endCallLocked()
	var rest rest
	if gone {
		rest = s.returnShareLocked(a)
	}
	s.mu.Unlock()
	return errors.Join(err, s.giveRest(rest))
}

// releaseKept is release once the view that has kept the attachment is in use no longer. Close may have been faster.
func (s *Session) releaseKept(a *attachment) error {
	s.mu.Lock()
	is := a.kept && !a.claimed
	a.claimed = a.claimed || is
	s.mu.Unlock()
	if !is {
		return nil
	}
	return s.release(a)
}

// withdrawOf withdraws the mapping that is one attachment's own. It reports whether the attachment can be given back: if
// not, a view of bytes is in use that could not be withdrawn, and release is called again when it is in use no longer.
func (s *Session) withdrawOf(a *attachment) (gone bool, err error) {
	g, v, own := a.segment, a.view, a.own
	_, carved := a.holding.held.Entry.Carved()
	switch {
	case own.Bytes == nil: // the bytes are in a mapping that Close withdraws, but other Segments may share it until then
		gone = v == nil || s.state.begun() && s.replaces()
	case v == nil && !s.state.begun(): // nothing is promised of plain bytes while the session goes on
		gone, err = true, s.member.Unmap(own)
	default:
		var late func(int) error
		if g.trail != nil {
			late = g.trail.late(g.handle)
		}
		gone, err = s.withdraw(own, carved, a.bytes, v, late)
		gone = gone || !carved // the object is not given to others
	}
	a.own, a.view = dsmimpl.Mapping{}, nil
	if !gone {
		s.mu.Lock()
		a.kept, a.parked, a.claimed = true, false, false
		s.mu.Unlock()
		runtime.AddCleanup(v, func(g *Segment) { go func() { g.logged(s.releaseKept(g.attachment)) }() }, g)
	}
	return gone, err
}

// rest is what is to be done without the session's lock when a share was returned. The zero rest is nothing.
type rest struct {
	holding *holding // is to be given up, and is in motion; nil if that was done, or others share it
	later   bool     // its reference stays until the session ends
	quits   bool     // Close has left it to this call to end the session
}

// returnShare gives back what is left of an attachment that is over: its share of the holding and, if that was the last,
// the holding.
func (s *Session) returnShare(a *attachment) error {
	s.mu.Lock()
	rest := s.returnShareLocked(a)
	s.mu.Unlock()
	return s.giveRest(rest)
}

// returnShareLocked is the part of returnShare that does not wait. A rest with a holding counts as a call in flight. The
// caller holds Session.mu.
func (s *Session) returnShareLocked(a *attachment) rest {
	h := a.holding
	s.unlistLocked(a)
	r := rest{quits: s.state == sessionLent && s.attachments == nil}
	if h.shared--; h.shared > 0 {
		return r
	}
	r.later = s.state.begun() && h.held.Entry.Page != 0 && sharesPages()
	if !r.later && s.member.TryGive(&h.held) { // nothing is mapped, and nothing waits
		s.gaveLocked(h, instance.Held{})
		return r
	}
	s.calls++
	h.state = moving
	r.holding = h
	return r
}

// giveRest does what returnShareLocked has left.
func (s *Session) giveRest(r rest) (err error) {
	if h := r.holding; h != nil {
		var lingers instance.Held
		lingers, err = s.give(h, r.later)
		s.settle()
		s.mu.Lock()
		s.gaveLocked(h, lingers)
		s.endCallLocked()
		s.mu.Unlock()
	}
	if r.quits {
		err = errors.Join(err, s.returned())
	}
	return err
}

// give gives up what a holding in motion holds. Later leaves the reference to the end of the session.
func (s *Session) give(h *holding, later bool) (lingers instance.Held, err error) {
	held := h.held
	var ended error
	if s.state.begun() && held.Mapping.Bytes != nil {
		_, ended = s.withdraw(held.Mapping, false, nil, nil, nil)
		held.Mapping = dsmimpl.Mapping{}
	}
	if later {
		return held, ended
	}
	lingers, err = s.member.Give(held)
	return lingers, errors.Join(ended, err)
}

// gaveLocked ends the motion of a holding that is not mapped any more, and of which a reference may linger. The caller holds
// Session.mu, and forgets the holding.
func (s *Session) gaveLocked(h *holding, lingers instance.Held) {
	if lingers.Entry.Handle != 0 {
		h.held = lingers
		h.restLocked(lingering)
		return
	}
	s.table.remove(h)
	h.restLocked(moving)
	h.next, s.spareHoldings = s.spareHoldings, h
}
