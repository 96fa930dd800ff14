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
	if s.stage == stageClosing {
		a.parked = true
		s.idle.Broadcast()
		s.mu.Unlock()
		return nil
	}
	if a.own.Bytes == nil && a.view == nil && s.stage == stageOpen {
		return s.returnShare(a)
	}
	s.calls++
	s.mu.Unlock()
	gone, err := s.withdrawOf(a)
	if s.stage == stageLent { // it does not change any more
		err = errors.Join(err, s.swapPart(a))
	}
	s.mu.Lock()
	s.endCall()
	if !gone {
		s.mu.Unlock()
		return err
	}
	return errors.Join(err, s.returnShare(a))
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
		gone = v == nil || s.stage != stageOpen && s.replaces()
	case v == nil && s.stage == stageOpen: // nothing is promised of plain bytes while the session goes on
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

// returnShare gives back, of an attachment that is over, what is left. It is called with the session's lock held, and unlocks
// it.
func (s *Session) returnShare(a *attachment) error {
	h := a.holding
	s.unlist(a)
	last := s.stage == stageLent && s.attachments == nil // Close has left it to this call to quit
	if h.shared--; h.shared > 0 {
		s.mu.Unlock()
		return s.returned(last)
	}
	later := s.stage != stageOpen && h.held.Entry.Page != 0 && sharesPages()
	if !later && s.member.TryGive(&h.held) { // nothing is mapped, and nothing waits
		s.gaveLocked(h, instance.Held{})
		s.mu.Unlock()
		return s.returned(last)
	}
	s.calls++
	h.state = moving
	s.mu.Unlock()

	lingers, err := s.give(h, later)
	s.settle()
	s.mu.Lock()
	s.gaveLocked(h, lingers)
	s.endCall()
	s.mu.Unlock()
	if last {
		err = errors.Join(err, s.returned(last))
	}
	return err
}

// give gives up what a holding in motion holds. Later leaves the reference to the end of the session.
func (s *Session) give(h *holding, later bool) (lingers instance.Held, err error) {
	held := h.held
	var ended error
	if s.stage != stageOpen && held.Mapping.Bytes != nil {
		_, ended = s.withdraw(held.Mapping, false, nil, nil, nil)
		held.Mapping = dsmimpl.Mapping{}
	}
	if later {
		return held, ended
	}
	lingers, err = s.member.Give(held)
	return lingers, errors.Join(ended, err)
}

// gaveLocked ends, under the session's lock, the motion of a holding that is not mapped any more, and of which a reference
// may linger. The caller forgets the holding.
func (s *Session) gaveLocked(h *holding, lingers instance.Held) {
	if lingers.Entry.Handle != 0 {
		h.held = lingers
		h.rest(lingering)
		return
	}
	s.table.remove(h)
	h.rest(moving)
	h.next, s.spareHoldings = s.spareHoldings, h
}
