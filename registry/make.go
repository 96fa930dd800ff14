package registry

import (
	"context"
	"errors"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// What a name stands for is made in steps, each of which leaves something that the next call of any session can clear
// away:
//
//	step                           a session that dies after it leaves
//	the row is making (resolve)    a row without a handle: freed
//	the segment is made            the same, and a segment that goes with its only holder
//	its handle is noted            a row with a handle: the segment goes with its only holder, the row is freed
//	it is pinned                   a segment that stays: unpinned, by the handle in the row
//	create has filled it           the same: nothing of it is used
//	the row is ready (publish)     what has the name
//
// So the handle is noted before the pin: a pinned segment that no row names would stay until the instance ends. This
// file promises that order. That create itself can be cut short anywhere is no matter, since nothing that it has made
// is found.

// claim is a row that this session makes: its word is making, by this session.
type claim struct {
	names *names
	sight
}

// noteHandle writes the handle of a new segment into the row, before the segment is pinned: what is to be removed if
// this session dies.
func (c *claim) noteHandle(ctx context.Context, handle uint64) error {
	failpoint.Hit("registry/make/made")
	c.record.handle = handle
	err := c.names.setRow(ctx, c.row, c.word, func(r *record) { r.handle = handle })
	failpoint.Hit("registry/make/noted")
	return err
}

// publish makes the row ready, and notes where in an area the thing is. It goes on after the end of ctx: what is made
// is not thrown away because its maker became impatient. If it fails the row is making still, and the caller discards
// it.
func (c *claim) publish(ctx context.Context, table uint64) error {
	failpoint.Hit("registry/make/done")
	return c.names.setRow(context.WithoutCancel(ctx), c.row, wordOf(hashOf(c.word), ready, 0), func(r *record) {
		r.table = table
	})
}

// obtain returns what a name stands for, by attach if it is there, else by make. It may do both several times: what
// another session deletes between the look at the row and the attach is looked for again. No lock is held while either
// runs.
func obtain[X any](ctx context.Context, s *dsm.Session, w wish,
	attach func(*names, *record) (X, error), make func(*claim) (X, error)) (x X, err error) {
	if w.invalid != nil {
		return x, w.invalid
	}
	n, err := namesOf(ctx, s, !w.existing)
	if err != nil {
		return x, err
	}
	claiming := &w
	if w.existing {
		claiming = nil
	}
	for {
		is, claimed, err := n.findOrClaim(ctx, w.name, claiming)
		if err != nil {
			return x, err
		}
		if claimed {
			return makeClaimed(ctx, &claim{n, is}, make)
		}
		if err := w.check(&is.record); err != nil {
			return x, err
		}
		x, err := attach(n, &is.record)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return x, err
		}
		// It has been deleted this moment, or has gone with the last session that had it attached. The row is freed, if
		// it is still the one that was seen, and the search begins again.
		if _, err := n.freeReady(ctx, is); err != nil {
			return x, err
		}
	}
}

// makeClaimed makes what a row is claimed for. If that fails, panics or ends its goroutine, nothing of it is left, and
// the row is free: that is done in a deferred function, which runs in all three cases. A panic goes on to the caller.
func makeClaimed[X any](ctx context.Context, c *claim, make func(*claim) (X, error)) (x X, err error) {
	done, returned := false, false
	defer func() {
		if !returned {
			log := c.names.session.Config().Logger
			log.Warn().Str("name", textOf(c.record.name[:])).
				Str("event", "make-failed").Msg("registry: what makes a name panicked or ended its goroutine; the name is made by the next who asks")
		}
		if !done { // in a session that has ended, the next call of another one does it
			err = errors.Join(err, ignoreKind(c.names.removeOrphans(ctx, c.sight), errkind.Closed))
		}
	}()
	if err = c.names.collectDeleted(ctx); err == nil {
		x, err = make(c)
	}
	done, returned = err == nil, true
	return x, err
}

// objectInSegment returns what a name stands for that has a segment of its own. Find makes an X of the segment where
// that is there, create where it is new; both are called without a lock. What either attaches is detached again if the
// call fails.
func objectInSegment[X any](ctx context.Context, s *dsm.Session, w wish,
	find, create func(*dsm.Segment) (X, error)) (X, error) {
	w.memory = ownSegment
	attach := func(n *names, r *record) (x X, err error) {
		if x, ok := keptAttachment[X](n, w, r.handle); ok {
			return x, nil
		}
		g, err := s.Attach(ctx, w.owner, dsm.Handle(r.handle))
		if err != nil {
			return x, err
		}
		if x, err = find(g); err != nil {
			return x, errors.Join(err, g.Detach())
		}
		return keepAttachment(n, w, r.handle, x, g.Detach), nil
	}
	return obtain(ctx, s, w, attach, func(c *claim) (x X, err error) {
		g, err := s.Create(ctx, w.owner, int(w.size))
		if err != nil {
			return x, err
		}
		done := false
		defer func() {
			if !done {
				_ = g.Detach()
			}
		}()
		// Noted, then pinned: see the top of this file.
		if err := c.noteHandle(ctx, uint64(g.Handle())); err != nil {
			return x, err
		}
		if !w.transient {
			if err := g.Pin(ctx); err != nil {
				return x, err
			}
		}
		failpoint.Hit("registry/make/pinned")
		if x, err = create(g); err != nil {
			return x, err
		}
		if err := errIfOver(s); err != nil {
			return x, err
		}
		if err := c.publish(ctx, 0); err != nil {
			return x, err
		}
		done = true
		return keepAttachment(c.names, w, c.record.handle, x, g.Detach), nil
	})
}

// objectInArea returns what a name stands for that has an area of its own. It is objectInSegment for areas: o is for a
// new one, and create also returns where in the area the thing is, by which find finds it.
func objectInArea[X any](ctx context.Context, s *dsm.Session, w wish, o dsa.Options,
	find func(*dsa.Area, dsa.Pointer) (X, error), create func(*dsa.Area) (X, dsa.Pointer, error)) (X, error) {
	w.memory = ownArea
	attach := func(n *names, r *record) (x X, err error) {
		if x, ok := keptAttachment[X](n, w, r.handle); ok {
			return x, nil
		}
		a, err := n.attachArea(ctx, w, r)
		if err != nil {
			return x, err
		}
		if x, err = find(a, dsa.Pointer(r.table)); err != nil {
			return x, errors.Join(err, a.Detach())
		}
		return keepAttachment(n, w, r.handle, x, a.Detach), nil
	}
	return obtain(ctx, s, w, attach, func(c *claim) (x X, err error) {
		var a *dsa.Area
		err = c.names.withSession(ctx, func(ctx context.Context) error {
			a, err = makeArea(ctx, c, w, o)
			return err
		})
		if err != nil {
			return x, err
		}
		done := false
		defer func() {
			if !done {
				_ = a.Detach()
			}
		}()
		x, p, err := create(a)
		if err != nil {
			return x, err
		}
		if err := errIfOver(s); err != nil {
			return x, err
		}
		// The place is stored in the section that makes the row ready, so no session finds the one without the other.
		if err := c.publish(ctx, uint64(p)); err != nil {
			return x, err
		}
		done = true
		return keepAttachment(c.names, w, c.record.handle, x, a.Detach), nil
	})
}

// makeArea makes an area for a claim, pinned if it is to stay. The area's first segment is noted in the row on the way.
func makeArea(ctx context.Context, c *claim, w wish, o dsa.Options) (*dsa.Area, error) {
	s := c.names.session
	a, err := dsa.Create(ctx, &noting{SegmentSource: area.Source(s, w.owner), claim: c}, s.Self(), o)
	if err != nil {
		return nil, err
	}
	if !w.transient {
		if err := a.Pin(ctx); err != nil {
			_ = a.Detach()
			return nil, err
		}
	}
	failpoint.Hit("registry/area/pinned")
	return a, nil
}

// noting is where a new area gets its segments from. It notes the first one in the claimed row
// before any process pins it, so that it can be removed if this session dies.
type noting struct {
	dsa.SegmentSource
	claim *claim // nil after that
}

// Create makes a segment, and notes the first one. A segment that could not be noted is let go, and the area is not
// made.
func (o *noting) Create(ctx context.Context, size int) (dsa.Segment, error) {
	g, err := o.SegmentSource.Create(ctx, size)
	if c := o.claim; c != nil && err == nil {
		o.claim = nil
		if err = c.noteHandle(ctx, g.Handle()); err != nil {
			return nil, errors.Join(err, g.Detach())
		}
	}
	return g, err
}

// removeObject removes what a record stands for, as far as it is there. If gone is false without an error, it is an
// area that other sessions have attached: the last of them removes it, unless they are all killed, so the row must
// stay. It can be run again after it was cut short anywhere, by another session too. A record whose handle was garbled
// leads to nothing, or to a segment that loses its pin.
func (n *names) removeObject(ctx context.Context, r *record) (gone bool, err error) {
	if r.handle == 0 {
		return true, nil
	}
	h := dsm.Handle(r.handle)
	if r.memory == ownArea {
		switch a, err := area.Attach(ctx, n.session, n.session.Owner(), h); {
		case err == nil:
			err = a.Unpin(ctx)
			failpoint.Hit("registry/drop/unpinned")
			// The last one out removes all segments of an area. Whether this session was the last shows in the first
			// segment.
			if err = errors.Join(err, a.Detach()); err != nil {
				return false, err
			}
			g, err := n.session.Attach(ctx, n.session.Owner(), h)
			if err == nil {
				return false, g.Detach()
			}
			return errors.Is(err, ErrNotFound), ignoreKind(err, ErrNotFound)
		case errors.Is(err, ErrFull): // as many sessions have it attached as it has places for
			return false, nil
		case !errors.Is(err, ErrNotFound) && !errors.Is(err, errkind.Corrupt):
			return false, err
		}
		// What is no area, or not yet one, has one segment at most, which goes like any other.
	}
	return true, ignoreKind(n.session.Unpin(ctx, h), ErrNotFound)
}
