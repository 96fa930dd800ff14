package dsm

import (
	"context"
	"errors"

	"github.com/godsm/godsm/resowner"
)

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

// acquireHolding returns the holding for a handle with one more share. If there is none it refers to the segment and
// maps it; if another goroutine has the holding in motion it waits for it to come to rest, while ctx lasts.
func (s *Session) acquireHolding(ctx context.Context, handle Handle) (*holding, error) {
	s.mu.Lock()
	for {
		h := s.table.find(handle)
		switch {
		case h == nil:
			h = s.holdLocked(handle)
			s.mu.Unlock()
			held, lingers, err := s.member.Take(ctx, uint64(handle), s.checked)
			return h, s.endTakeOf(h, held, lingers, err)
		// At rest: the second attach that came while the first was under way ends here, too.
		case h.state == mapped:
			h.shared++
			s.mu.Unlock()
			return h, nil
		// The reference is there, so only the mapping is missing.
		case h.state == lingering:
			h.state = moving
			s.mu.Unlock()
			held, lingers, err := s.member.Retake(h.held, s.checked)
			return h, s.endTakeOf(h, held, lingers, err)
		}
		if err := s.awaitIdleLocked(ctx, h); err != nil {
			s.mu.Unlock()
			return nil, err
		}
	}
}

// shareHolding returns a Segment of the holding for a handle if that is mapped and at rest, and nil if it is not. This
// is the second attach in a process: it takes no lock of the instance and makes no system call.
func (s *Session) shareHolding(handle Handle, owner *resowner.Owner) (*Segment, error) {
	s.mu.Lock()
	h := s.table.find(handle)
	if h == nil || h.state != mapped || !s.shareableLocked(h) {
		s.mu.Unlock()
		return nil, nil
	}
	if err := s.endedLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	h.shared++
	g, err := s.segmentLocked(h, nil, nil, owner)
	s.mu.Unlock()
	return g.detachIfErr(err)
}

// shareableLocked reports whether the mapping of h is there for one Segment more. In checked mode it never is: each
// Segment has its own. Otherwise it is missing if a Segment with a view has taken it for its own. The caller holds
// Session.mu.
func (s *Session) shareableLocked(h *holding) bool {
	return !s.checked && (h.held.Entry.Page != 0 || h.held.Mapping.Bytes != nil)
}

// attachShare makes a Segment of one share of h, with a mapping of its own if none can be shared, and ends the call that
// got the share. If the mapping fails, or the owner has ended since it was reserved, the Segment is detached again and
// the errors are returned.
func (s *Session) attachShare(h *holding, owner *resowner.Owner) (*Segment, error) {
	var tr *trail
	if s.checked {
		tr = &trail{attached: callSite()}
	}
	var own *ownMapping
	var err error
	s.mu.Lock()
	shareable := s.shareableLocked(h)
	s.mu.Unlock()
	if !shareable {
		var m ownMapping
		m, err = s.ownMapping(h)
		own = &m
	}
	s.destroyOwed()
	s.mu.Lock()
	s.endCallLocked()
	g, refused := s.segmentLocked(h, own, tr, owner)
	s.mu.Unlock()
	return g.detachIfErr(errors.Join(err, refused))
}
