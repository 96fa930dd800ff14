package dsm

import (
	"context"

	"github.com/godsm/godsm/internal/instance"
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

// setIdleLocked ends a motion and wakes the goroutines that wait for it. The caller holds Session.mu.
func (h *holding) setIdleLocked(state holdingState) {
	h.state = state
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}
