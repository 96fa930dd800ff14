package dsm

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/resowner"
)

// holding is this session's reference to one segment, and its mapping, however many Segments share them. The session's
// table has one for each handle. Reference and mapping change only in the hands of the goroutine that has
// the holding in motion; whoever meets it so waits.
type holding struct {
	handle  Handle
	entry   control.Entry
	mapping dsmimpl.Mapping // none if it is carved, or Segments have their own; it changes at rest too, under Session.mu

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

// create makes a segment in the system and in the books, and a holding with one share.
func (s *Session) create(ctx context.Context, size int) (*holding, error) {
	entry, err := s.intend(ctx, size)
	if err != nil {
		return nil, err
	}
	if _, carved := entry.Carved(); carved {
		return s.carved(entry)
	}
	m := s.member
	for tries := 0; ; tries++ {
		failpoint.Hit("dsm/create/intended")
		mapping, word, err := m.Make(ctx, entry)
		if err == nil {
			entry.Word = word
			return s.created(ctx, entry, mapping)
		}
		undo := context.WithoutCancel(ctx)
		if !errors.Is(err, fs.ErrExist) {
			// The backend may have been refused the removal too. Then the row stays creating, which
			// Leave and reclaim finish.
			if left := m.Remove(undo, entry); left != nil {
				return nil, errors.Join(err, left)
			}
		}
		failpoint.Hit("dsm/create/refused")
		abandoned := m.Self.Abandon(undo, entry)
		if !errors.Is(err, fs.ErrExist) || tries == 16 || abandoned != nil {
			return nil, errors.Join(err, abandoned)
		}
		// Somebody's object stands under the name: another row, another handle.
		if entry, err = s.intendObject(ctx, size); err != nil {
			return nil, err
		}
	}
}

// intend carves the segment or writes the intent to make it down; a full table reclaims the dead before it is an error.
func (s *Session) intend(ctx context.Context, size int) (control.Entry, error) {
	m := s.member
	entry, err := s.carve(ctx, size)
	if errors.Is(err, ErrTooManySegments) || errors.Is(err, ErrQuota) {
		if n, rerr := m.ReclaimDead(ctx); n > 0 && rerr == nil && m.Settle(ctx) == nil {
			entry, err = s.carve(ctx, size)
		}
	}
	return entry, err
}

// carve tries the reserved region, and falls through to an object of the segment's own.
func (s *Session) carve(ctx context.Context, size int) (control.Entry, error) {
	if s.carves {
		now := s.clock.Load() // to look at the clock would cost as much as the lock
		if entry, ok, err := s.member.Self.Carve(ctx, size, now); ok || err != nil {
			return entry, err
		}
	}
	return s.intendObject(ctx, size)
}

func (s *Session) intendObject(ctx context.Context, size int) (control.Entry, error) {
	return s.member.Self.Create(ctx, size, time.Now())
}

// small is what is zeroed under the session's lock, for which other goroutines may wait: 0.2 us.
const small = 16 << 10

// carveAtOnce makes a Segment in the reserved region if that is a matter of no time. It is called with the lock
// held, and unlocks it but for returning neither Segment nor error.
func (s *Session) carveAtOnce(size int, owner *resowner.Owner) (*Segment, error) {
	if size > small || !s.carves || s.checked {
		return nil, nil
	}
	entry, ok := s.member.Self.TryCarve(size, s.clock.Load())
	if !ok {
		return nil, nil
	}
	if err := s.publish(&entry); err != nil {
		s.member.Self.TryUnref(entry) // if that is refused Leave and reclaim give it back
		s.mu.Unlock()
		return nil, err
	}
	h := s.hold(Handle(entry.Handle))
	h.entry, h.state, h.shared = entry, mapped, 1
	return s.segment(h, nil, nil, owner)
}

// carved is for a segment that was carved outside of the session's lock.
func (s *Session) carved(entry control.Entry) (*holding, error) {
	s.mu.Lock()
	h := s.hold(Handle(entry.Handle)) // before others can attach it: nobody else of this session may refer to it twice
	h.entry = entry
	s.mu.Unlock()
	err := s.publish(&entry)
	if err != nil {
		s.unref(h, true)
		return nil, err
	}
	s.mu.Lock()
	h.shared = 1
	h.rest(mapped)
	s.mu.Unlock()
	return h, nil
}

// publish zeroes a segment that was carved, and lets others attach it.
func (s *Session) publish(entry *control.Entry) error {
	failpoint.Hit("dsm/create/carved")
	return s.member.Self.Publish(entry, instance.Part(s.region, entry))
}

func (s *Session) created(ctx context.Context, entry control.Entry, mapping dsmimpl.Mapping) (*holding, error) {
	m := s.member
	failpoint.Hit("dsm/create/made")
	if err := m.Self.Created(ctx, entry, entry.Word); err != nil {
		// Closing made the row destroying; without the lock it stays creating, which Leave and reclaim finish. A
		// row that was garbled leads nobody else to the object.
		err = errors.Join(err, m.Unmap(mapping))
		if errors.Is(err, ErrStale) || errors.Is(err, ErrCorrupt) {
			err = errors.Join(err, m.Destroy(ctx, entry))
		}
		return nil, err
	}
	failpoint.Hit("dsm/create/live")
	s.mu.Lock()
	h := s.hold(Handle(entry.Handle))
	h.entry, h.mapping, h.state, h.shared = entry, mapping, mapped, 1
	s.mu.Unlock()
	return h, nil
}

// hold puts a new holding into the table, under the lock. It is in motion.
func (s *Session) hold(handle Handle) *holding {
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
			h = s.hold(handle)
			s.mu.Unlock()
			entry, err := s.member.Self.Ref(ctx, uint64(handle))
			h.entry = entry
			return h, s.mapIn(h, err)
		case h.state == mapped:
			h.shared++
			s.mu.Unlock()
			return h, nil
		case h.state == lingering:
			h.state = moving
			s.mu.Unlock()
			return h, s.mapIn(h, nil)
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
func (s *Session) mapIn(h *holding, err error) error {
	referenced := err == nil
	failpoint.Hit("dsm/attach/referenced")
	if _, carved := h.entry.Carved(); referenced && carved {
		if err = s.regionErr; err == nil && s.region.Bytes == nil {
			err = errkind.As(ErrCorrupt,
				errors.New("the segment lies in a reserved region, of which the instance has none"))
		}
	} else if referenced && !s.checked {
		h.mapping, err = s.member.Map(context.Background(), h.entry, dsmimpl.ReadWrite)
	}
	if err == nil {
		failpoint.Hit("dsm/attach/mapped")
		s.mu.Lock()
		defer s.mu.Unlock()
		h.shared = 1
		h.rest(mapped)
		return nil
	}
	s.unref(h, referenced)
	return err
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
func (s *Session) share(handle Handle, owner *resowner.Owner) (*Segment, error) {
	s.mu.Lock()
	h := s.table.find(handle)
	if h == nil || h.state != mapped || !s.shareable(h) {
		s.mu.Unlock()
		return nil, nil
	}
	if err := s.over(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	h.shared++
	return s.segment(h, nil, nil, owner)
}

// shareable reports, under the lock, whether the mapping of h is there for one Segment more: in checked mode each
// has its own, and one that has a view may have taken it.
func (s *Session) shareable(h *holding) bool {
	return !s.checked && (h.entry.Page != 0 || h.mapping.Bytes != nil)
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
	shareable := s.shareable(h)
	s.mu.Unlock()
	if !shareable {
		var m ownMapping
		m, err = s.ownMapping(h)
		own = &m
	}
	s.settle()
	s.mu.Lock()
	s.endCall()
	g, kept := s.segment(h, own, tr, owner)
	if err == nil || kept != nil {
		return g, errors.Join(err, kept)
	}
	return nil, errors.Join(err, g.Detach())
}

// segment makes a Segment of one share of h, under owner. It is called with the lock held, and unlocks it.
func (s *Session) segment(h *holding, own *ownMapping, tr *trail, owner *resowner.Owner) (*Segment, error) {
	a := s.enlist(h)
	g := &Segment{handle: h.handle, size: h.entry.Size, trail: tr, attachment: a, life: a.life}
	a.segment = g
	switch {
	case own != nil:
		a.own, a.bytes = own.mapping, own.part
		if s.checked && s.replaces() && own.part != nil { // nil if it could not be mapped
			a.view = g.tells(s.view.Over(own.part))
		}
	case h.entry.Page != 0:
		a.bytes = instance.Part(s.region, &h.entry)
	default:
		a.bytes = instance.Part(h.mapping, &h.entry)
	}
	err := owner.Remember(&a.item, (*owned)(g), 4) // whoever called Create or Attach
	s.mu.Unlock()
	if err != nil { // the owner has ended since it was reserved
		return nil, errors.Join(err, g.Detach())
	}
	return g, nil
}
