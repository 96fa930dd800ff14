package dsm

import (
	"context"

	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/resowner"
)

// holding is this session's reference to one segment, and its mapping, however many Segments share them. The session's
// table has one for each handle that it refers to.
//
// Reference and mapping change only by the goroutine that has the holding in motion (state moving). A goroutine that
// needs a holding which another one has in motion waits on moved, and looks again. So a segment is never referred to
// twice by one session, and never given up while another goroutine attaches it.
type holding struct {
	handle Handle
	// held is the reference and the mapping. The mapping changes at rest too, under Session.mu, when a Segment takes it
	// for its own (ownMapping).
	held instance.Held

	// Under Session.mu:
	state holdingState
	// shared counts the Segments whose bytes it keeps: the last one gives it up.
	shared int32
	// moved is made by the first goroutine that waits, and closed when the holding has come to rest.
	moved chan struct{}
	next  *holding // in the table, or among the spare ones
}

// holdingState is what the session has of a segment. Its legal moves, all under Session.mu:
//
//	moving    -> mapped     took: a Make or Take has come to its end
//	mapped    -> moving     releaseShareLocked: the last share was returned
//	moving    -> (removed)  endReleaseLocked: the reference is given back, or was never taken
//	moving    -> lingering  endReleaseLocked: the reference is still there
//	lingering -> moving     acquire: attached again, which takes the reference over
//	mapped    -> (removed)  releaseShareLocked: a carved segment, given back without waiting
type holdingState uint8

const (
	moving holdingState = iota
	mapped              // reference and mapping are there
	// lingering means unmapped, with a reference that is still there: the control lock could not be acquired or, in a
	// session that closes, other segments lie on the same page. A later Attach of the handle takes the reference over;
	// else the session gives it back when it leaves.
	lingering
)

// holdLocked puts a new holding for the handle, in motion, into the table. The caller holds Session.mu, and has found
// none there.
func (s *Session) holdLocked(handle Handle) *holding {
	h := s.spareHoldings
	if h == nil {
		h = &holding{}
	} else {
		s.spareHoldings = h.next
	}
	*h = holding{handle: handle}
	s.table.add(h)
	return h
}

// awaitIdleLocked waits until a holding that another goroutine has in motion has come to rest, or ctx is over, which is
// the error. The holding may be another one's then, so the caller looks it up again. The caller holds Session.mu, which
// the wait releases.
func (s *Session) awaitIdleLocked(ctx context.Context, h *holding) error {
	if h.moved == nil { // the first one to wait makes it
		h.moved = make(chan struct{})
	}
	moved := h.moved
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endTakeOf ends the motion of a holding after Make, Take or Retake. With an error the holding leaves the table, or
// lingers; without one it is mapped, and the caller has its first share.
func (s *Session) endTakeOf(h *holding, held, lingers instance.Held, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.endReleaseLocked(h, lingers)
		return err
	}
	h.held, h.shared = held, 1
	h.setIdleLocked(mapped)
	return nil
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
	if h == nil || h.state != mapped || !s.holdingIsShareableLocked(h) {
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

// holdingIsShareableLocked reports whether the mapping of h is there for one Segment more. In checked mode it never is: each
// Segment has its own. Otherwise it is missing if a Segment with a view has taken it for its own. The caller holds
// Session.mu.
func (s *Session) holdingIsShareableLocked(h *holding) bool {
	return !s.checked && (h.held.Entry.Page != 0 || h.held.Mapping.Bytes != nil)
}

// holdingBytesLocked returns the bytes of h in the mapping that its Segments share, nil if there is none. The caller
// holds Session.mu.
func (s *Session) holdingBytesLocked(h *holding) []byte {
	switch {
	case h == nil:
		return nil
	case h.held.Entry.Page != 0 && s.member.Books.Region.Bytes != nil:
		return instance.Part(s.member.Books.Region, &h.held.Entry)
	case h.held.Entry.Page == 0 && h.held.Mapping.Bytes != nil:
		return h.held.Part()
	}
	return nil
}

// setIdleLocked ends a motion and wakes the goroutines that wait for it. The caller holds Session.mu.
func (h *holding) setIdleLocked(state holdingState) {
	h.state = state
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}
