package dsm

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
)

// holding is this session's reference to one segment, and its mapping, however many Segments share them. The session's
// table has one for each handle. Reference and mapping change only in the hands of the goroutine that has
// the holding in motion; whoever meets it so waits.
type holding struct {
	entry   control.Entry
	mapping dsmimpl.Mapping // in checked mode each Segment has its own instead

	// Under Session.mu:
	state  holdingState
	moved  chan struct{} // made by who waits, closed when the holding has come to rest
	shared int           // Segments whose bytes it keeps
}

type holdingState int

const (
	moving    holdingState = iota
	mapped                 // reference and mapping are there
	lingering              // unmapped, but the control lock was not to be had: the reference is still there
)

// create makes a segment in the system and in the books, and a holding with one share.
func (s *Session) create(ctx context.Context, size int) (*holding, error) {
	entry, err := s.intend(ctx, size)
	if err != nil {
		return nil, err
	}
	m := s.member
	for tries := 0; ; tries++ {
		failpoint.Hit("dsm/create/intended")
		mapping, word, err := m.Backend.Create(ctx, m.Object(entry))
		if err == nil {
			entry.Word = word
			return s.created(ctx, entry, mapping)
		}
		undo := context.WithoutCancel(ctx)
		if !errors.Is(err, fs.ErrExist) {
			// The backend may have been refused the removal too. Then the row stays creating, which Leave and reclaim finish.
			if left := m.Backend.Destroy(undo, m.Object(entry)); left != nil {
				return nil, errors.Join(err, left)
			}
		}
		abandoned := m.Self.Abandon(undo, entry)
		if !errors.Is(err, fs.ErrExist) || tries == 16 || abandoned != nil {
			return nil, errors.Join(err, abandoned)
		}
		// Somebody's object stands under the name: another row, another handle.
		if entry, err = s.intend(ctx, size); err != nil {
			return nil, err
		}
	}
}

// intend writes the intent down; a full table reclaims the dead before it is an error.
func (s *Session) intend(ctx context.Context, size int) (control.Entry, error) {
	m := s.member
	entry, err := m.Self.Create(ctx, size, time.Now())
	if errors.Is(err, ErrTooManySegments) || errors.Is(err, ErrQuota) {
		if n, rerr := m.ReclaimDead(ctx); n > 0 && rerr == nil && m.Settle(ctx) == nil {
			entry, err = m.Self.Create(ctx, size, time.Now())
		}
	}
	return entry, err
}

func (s *Session) created(ctx context.Context, entry control.Entry, mapping dsmimpl.Mapping) (*holding, error) {
	m := s.member
	failpoint.Hit("dsm/create/made")
	if err := m.Self.Created(ctx, entry, entry.Word); err != nil {
		// Closing made the row destroying; without the lock it stays creating, which Leave and reclaim finish. A row that was
		// garbled leads nobody else to the object.
		err = errors.Join(err, m.Backend.Detach(mapping))
		if errors.Is(err, ErrStale) || errors.Is(err, ErrCorrupt) {
			err = errors.Join(err, m.Destroy(ctx, entry))
		}
		return nil, err
	}
	failpoint.Hit("dsm/create/live")
	h := &holding{entry: entry, mapping: mapping, state: mapped, shared: 1}
	s.mu.Lock()
	s.table[Handle(entry.Handle)] = h
	s.mu.Unlock()
	return h, nil
}

// acquire returns the holding for a handle with one more share, made if there is none.
func (s *Session) acquire(ctx context.Context, handle Handle) (*holding, error) {
	s.mu.Lock()
	for {
		h := s.table[handle]
		switch {
		case h == nil:
			h = &holding{}
			s.table[handle] = h
			s.mu.Unlock()
			entry, err := s.member.Self.Ref(ctx, uint64(handle))
			h.entry = entry
			return h, s.mapIn(h, handle, err)
		case h.state == mapped:
			h.shared++
			s.mu.Unlock()
			return h, nil
		case h.state == lingering:
			h.state = moving
			s.mu.Unlock()
			return h, s.mapIn(h, handle, nil)
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

// mapIn ends the motion of a holding that has its reference, or has failed to get it.
func (s *Session) mapIn(h *holding, handle Handle, err error) error {
	referenced := err == nil
	failpoint.Hit("dsm/attach/referenced")
	if referenced && !s.checked {
		h.mapping, err = s.member.Backend.Attach(context.Background(), s.member.Object(h.entry), dsmimpl.ReadWrite)
	}
	if err == nil {
		failpoint.Hit("dsm/attach/mapped")
		s.mu.Lock()
		defer s.mu.Unlock()
		h.shared = 1
		h.rest(mapped)
		return nil
	}
	s.unref(h, handle, referenced)
	return err
}

// release gives g's share of its holding back; the last one unmaps and gives the reference back.
func (s *Session) release(g *Segment) error {
	h := g.holding
	s.mu.Lock()
	s.unlist(g)
	if h.shared--; h.shared > 0 {
		s.mu.Unlock()
		return nil
	}
	left := s.left
	if !left {
		s.calls++
		defer s.end()
	}
	h.state = moving
	s.mu.Unlock()

	var err error
	if h.mapping.Bytes != nil {
		err = s.member.Backend.Detach(h.mapping)
		h.mapping = dsmimpl.Mapping{}
	}
	failpoint.Hit("dsm/detach/unmapped")
	s.unref(h, Handle(h.entry.Handle), !left) // with its row the session has given back the reference too
	return err
}

// unref ends the motion of a holding that is not mapped: its reference goes back, and the segment with it if that
// was the last. It never fails; without the control lock the holding lingers.
func (s *Session) unref(h *holding, handle Handle, referenced bool) {
	lingers := false
	if referenced {
		ctx := context.Background()
		last, err := s.member.Self.Unref(ctx, h.entry)
		switch {
		case last:
			failpoint.Hit("dsm/detach/last")
			_ = s.member.Destroy(ctx, h.entry) // logged
		case err != nil:
			lingers = true
			s.log.Warn().Err(err).Stringer("handle", handle).Msg("a reference is given back later, at the latest when the session closes")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lingers {
		h.rest(lingering)
		return
	}
	delete(s.table, handle)
	h.rest(moving)
}

// rest ends a motion, under the session's lock.
func (h *holding) rest(state holdingState) {
	h.state = state
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// share returns a Segment of the holding for a handle that is mapped and at rest; nil if there is none. This is the
// second attach in a process, which asks nobody but the session.
func (s *Session) share(handle Handle) (*Segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.table[handle]
	if h == nil || h.state != mapped || s.checked {
		return nil, nil
	}
	if err := s.over(); err != nil {
		return nil, err
	}
	h.shared++
	return s.segment(h, h.mapping), nil
}

// segment makes a Segment of one share of h, whose bytes are m's, under the lock.
func (s *Session) segment(h *holding, m dsmimpl.Mapping) *Segment {
	g := &Segment{session: s, holding: h}
	if s.checked {
		g.trail = &trail{attached: here()}
	}
	if m.Bytes != nil {
		g.bytes = m.Bytes[:h.entry.Size:h.entry.Size]
	}
	s.enlist(g)
	return g
}

// view makes a Segment of one share of h, in checked mode with a mapping of its own.
func (s *Session) view(h *holding) (g *Segment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.checked {
		return s.segment(h, h.mapping), nil
	}
	own := h.mapping // there is one from its creation, seen by nobody else yet
	h.mapping = dsmimpl.Mapping{}
	if own.Bytes == nil {
		s.mu.Unlock()
		own, err = s.member.Backend.Attach(context.Background(), s.member.Object(h.entry), dsmimpl.ReadWrite)
		s.mu.Lock()
	}
	g = s.segment(h, own)
	g.own = own
	if err != nil {
		s.mu.Unlock()
		err = errors.Join(err, s.release(g))
		s.mu.Lock()
		return nil, err
	}
	return g, nil
}
