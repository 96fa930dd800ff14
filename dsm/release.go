package dsm

import (
	"context"
	"errors"
	"runtime"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
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
	_, carved := a.holding.entry.Carved()
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
	later := s.stage != stageOpen && h.entry.Page != 0 && sharesPages()
	if !later && s.member.Self.TryUnref(h.entry) { // nothing is mapped, and nothing waits
		failpoint.Hit("dsm/detach/at-once")
		s.settled(h, false)
		s.mu.Unlock()
		return s.returned(last)
	}
	s.calls++
	h.state = moving
	s.mu.Unlock()

	var err error
	if m := h.mapping; m.Bytes != nil {
		h.mapping = dsmimpl.Mapping{}
		if s.stage == stageOpen {
			err = s.member.Unmap(m)
		} else {
			_, err = s.withdraw(m, false, nil, nil, nil)
		}
	}
	failpoint.Hit("dsm/detach/unmapped")
	lingers := !later && s.giveBack(h)
	s.settle()
	s.mu.Lock()
	s.settled(h, lingers)
	s.endCall()
	s.mu.Unlock()
	if last {
		err = errors.Join(err, s.returned(last))
	}
	return err
}

// unref ends the motion of a holding that is not mapped: its reference goes back, and the segment with it if that
// was the last. It never fails; without the control lock the holding lingers.
func (s *Session) unref(h *holding, referenced bool) {
	lingers := referenced && s.giveBack(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled(h, lingers)
}

// giveBack gives a reference back; true if it could not.
func (s *Session) giveBack(h *holding) (lingers bool) {
	ctx := context.Background()
	last, err := s.member.Self.Unref(ctx, h.entry)
	if last {
		failpoint.Hit("dsm/detach/last")
		_ = s.member.Destroy(ctx, h.entry) // logged
		return false
	}
	if err != nil {
		s.log.Warn().Err(err).Stringer("handle", h.handle).
			Msg("a reference is given back later, at the latest when the session closes")
	}
	return err != nil
}

// settled ends, under the lock, the motion of a holding that is not mapped any more. The caller forgets it.
func (s *Session) settled(h *holding, lingers bool) {
	if lingers {
		h.rest(lingering)
		return
	}
	s.table.remove(h)
	h.rest(moving)
	h.next, s.spareHoldings = s.spareHoldings, h
}
