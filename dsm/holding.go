package dsm

import (
	"context"
	"errors"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/resowner"
)

// holding is this session's reference to one segment, and its mapping, however many Segments share them. The session's
// table has one for each handle. Reference and mapping change only in the hands of the goroutine that has
// the holding in motion; whoever meets it so waits.
type holding struct {
	handle Handle
	held   instance.Held // its mapping changes at rest too, under Session.mu: Segments may have their own

	// Under Session.mu:
	state  holdingState
	shared int32         // Segments whose bytes it keeps
	moved  chan struct{} // made by who waits, closed when the holding has come to rest
	next   *holding      // in the table, or among the spare ones
}

type holdingState uint8

const (
	moving    holdingState = iota
	mapped                 // reference and mapping are there
	lingering              // unmapped, but the control lock was not to be had: the reference is still there
)

// create makes a segment, and a holding with one share.
func (s *Session) create(ctx context.Context, size int) (h *holding, err error) {
	listed := func(e control.Entry) { // before others can attach it: no other goroutine may refer to it a second time
		s.mu.Lock()
		h = s.holdLocked(Handle(e.Handle))
		s.mu.Unlock()
	}
	held, lingers, err := s.member.Make(ctx, size, s.clock.Load(), listed) // to look at the clock costs as much as the lock
	if h == nil {
		return nil, err
	}
	return h, s.took(h, held, lingers, err)
}

// small is what is zeroed under the session's lock, for which other goroutines may wait: 0.2 us.
const small = 16 << 10

// tryMakeLocked makes a Segment in the reserved region, without waiting. It returns nil if that can't be done at once; a
// Segment with an error is as segmentLocked's. The caller holds Session.mu.
func (s *Session) tryMakeLocked(size int, owner *resowner.Owner) (*Segment, error) {
	if size > small || !s.member.Carves || s.checked {
		return nil, nil
	}
	held, ok, err := s.member.TryMake(size, s.clock.Load())
	if err != nil || !ok {
		return nil, err
	}
	h := s.holdLocked(Handle(held.Entry.Handle))
	h.held, h.state, h.shared = held, mapped, 1
	return s.segmentLocked(h, nil, nil, owner)
}

// holdLocked puts a new holding, in motion, into the table. The caller holds Session.mu.
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

// acquire returns the holding for a handle with one more share, made if there is none.
func (s *Session) acquire(ctx context.Context, handle Handle) (*holding, error) {
	s.mu.Lock()
	for {
		h := s.table.find(handle)
		switch {
		case h == nil:
			h = s.holdLocked(handle)
			s.mu.Unlock()
			held, lingers, err := s.member.Take(ctx, uint64(handle), s.checked)
			return h, s.took(h, held, lingers, err)
		case h.state == mapped:
			h.shared++
			s.mu.Unlock()
			return h, nil
		case h.state == lingering:
			h.state = moving
			s.mu.Unlock()
			held, lingers, err := s.member.Retake(h.held, s.checked)
			return h, s.took(h, held, lingers, err)
		}
		if h.moved == nil {
			h.moved = make(chan struct{})
		}
		moved := h.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		s.mu.Lock()
	}
}

// took ends the motion of a holding that was made, or taken, or could not be.
func (s *Session) took(h *holding, held, lingers instance.Held, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.gaveLocked(h, lingers)
		return err
	}
	h.held, h.shared = held, 1
	h.restLocked(mapped)
	return nil
}

// restLocked ends a motion. The caller holds Session.mu.
func (h *holding) restLocked(state holdingState) {
	h.state = state
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// share returns a Segment of the holding for a handle that is mapped and at rest; nil if there is none. This is the
// second attach in a process, which asks nobody but the session.
func (s *Session) share(handle Handle, owner *resowner.Owner) (*Segment, error) {
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
	return g.unless(err)
}

// shareableLocked reports whether the mapping of h is there for one Segment more: in checked mode each has its own, and
// one that has a view may have taken it. The caller holds Session.mu.
func (s *Session) shareableLocked(h *holding) bool {
	return !s.checked && (h.held.Entry.Page != 0 || h.held.Mapping.Bytes != nil)
}

// attached makes a Segment of one share of h, with a mapping of its own if none can be shared, and ends the call that got
// the share.
func (s *Session) attached(h *holding, owner *resowner.Owner) (*Segment, error) {
	var tr *trail
	if s.checked {
		tr = &trail{attached: here()}
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
	s.settle()
	s.mu.Lock()
	s.endCallLocked()
	g, refused := s.segmentLocked(h, own, tr, owner)
	s.mu.Unlock()
	return g.unless(errors.Join(err, refused))
}

// unless returns g, or detaches it if there is an error.
func (g *Segment) unless(err error) (*Segment, error) {
	if err == nil || g == nil {
		return g, err
	}
	return nil, errors.Join(err, g.Detach())
}

// segmentLocked makes a Segment of one share of h, under owner. An error is the owner's, which has ended since it was
// reserved: the caller detaches the Segment then. The caller holds Session.mu.
func (s *Session) segmentLocked(h *holding, own *ownMapping, tr *trail, owner *resowner.Owner) (*Segment, error) {
	a := s.enlistLocked(h)
	g := &Segment{handle: h.handle, size: h.held.Entry.Size, trail: tr, attachment: a, life: a.life}
	a.segment = g
	switch {
	case own != nil:
		a.own, a.bytes = own.mapping, own.part
		if s.checked && s.replaces() && own.part != nil { // nil if it could not be mapped
			a.view = g.tells(s.view.Over(own.part))
		}
	case h.held.Entry.Page != 0:
		a.bytes = instance.Part(s.member.Region, &h.held.Entry)
	default:
		a.bytes = h.held.Part()
	}
	return g, owner.Remember(&a.item, (*owned)(g), 4) // the caller of Create or Attach
}
