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
	return obtainObject(ctx, s, w, attach, func(c *claim) (x X, err error) {
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
	return obtainObject(ctx, s, w, attach, func(c *claim) (x X, err error) {
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

// obtainObject returns what a name stands for, by attach if it is there, else by make. It may do both several times: what
// another session deletes between the look at the row and the attach is looked for again. No lock is held while either
// runs.
func obtainObject[X any](ctx context.Context, s *dsm.Session, w wish,
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
		is, claimed, err := n.resolveOrClaim(ctx, w.name, claiming)
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
		if _, err := n.freeReadyName(ctx, is); err != nil {
			return x, err
		}
	}
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
			return errors.Is(err, ErrNotFound), ignoreErrKind(err, ErrNotFound)
		case errors.Is(err, ErrFull): // as many sessions have it attached as it has places for
			return false, nil
		case !errors.Is(err, ErrNotFound) && !errors.Is(err, errkind.Corrupt):
			return false, err
		}
		// What is no area, or not yet one, has one segment at most, which goes like any other.
	}
	return true, ignoreErrKind(n.session.Unpin(ctx, h), ErrNotFound)
}
