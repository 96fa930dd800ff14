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

// claim is a row that this session makes.
type claim struct {
	names *names
	sight
}

// note writes down what is to be removed if this session dies, before it is pinned.
func (c *claim) note(ctx context.Context, handle uint64) error {
	failpoint.Hit("registry/make/made")
	c.record.handle = handle
	err := c.names.set(ctx, c.row, c.word, func(r *record) { r.handle = handle })
	failpoint.Hit("registry/make/noted")
	return err
}

// publish makes the row ready.
func (c *claim) publish(ctx context.Context, table uint64) error {
	failpoint.Hit("registry/make/done")
	return c.names.set(context.WithoutCancel(ctx), c.row, wordOf(hashOf(c.word), ready, 0), func(r *record) { r.table = table })
}

// obtain returns what a name stands for, by attach if it is there, else by make.
func obtain[X any](ctx context.Context, s *dsm.Session, w wish, attach func(*names, *record) (X, error), make func(*claim) (X, error)) (x X, err error) {
	n, err := of(ctx, s, !w.existing)
	if err != nil {
		return x, err
	}
	claiming := &w
	if w.existing {
		claiming = nil
	}
	for {
		is, claimed, err := n.resolve(ctx, w.name, claiming)
		if err != nil {
			return x, err
		}
		if claimed {
			return build(ctx, &claim{n, is}, make)
		}
		if err := w.check(&is.record); err != nil {
			return x, err
		}
		x, err := attach(n, &is.record)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return x, err
		}
		// It has been deleted this moment, or has gone with the last who had it attached.
		if _, err := n.remove(ctx, is); err != nil {
			return x, err
		}
	}
}

// build makes what a row is claimed for. If that fails, or panics, nothing of it is left, and the row is free.
func build[X any](ctx context.Context, c *claim, make func(*claim) (X, error)) (x X, err error) {
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, c.names.discard(ctx, c.sight))
		}
	}()
	if err := c.names.tend(ctx); err != nil {
		return x, err
	}
	x, err = make(c)
	done = err == nil
	return x, err
}

func segment(ctx context.Context, s *dsm.Session, w wish, init func(*dsm.Segment) error) (*dsm.Segment, error) {
	attach := func(n *names, r *record) (*dsm.Segment, error) {
		if g := n.kept(w, r.handle); g != nil {
			return g, nil
		}
		g, err := s.Attach(ctx, w.owner, dsm.Handle(r.handle))
		if err != nil {
			return nil, err
		}
		return n.keep(w, g), nil
	}
	return obtain(ctx, s, w, attach, func(c *claim) (*dsm.Segment, error) {
		g, err := s.Create(ctx, w.owner, int(w.size))
		if err != nil {
			return nil, err
		}
		done := false
		defer func() {
			if !done {
				_ = g.Detach()
			}
		}()
		if err := c.note(ctx, uint64(g.Handle())); err != nil {
			return nil, err
		}
		if !w.transient {
			if err := g.Pin(ctx); err != nil {
				return nil, err
			}
		}
		failpoint.Hit("registry/make/pinned")
		if err := init(g); err != nil {
			return nil, err
		}
		if err := c.publish(ctx, 0); err != nil {
			return nil, err
		}
		done = true
		return c.names.keep(w, g), nil
	})
}

// kept is what this session has attached for its life; nil if that isn't wished for, or there is none.
func (n *names) kept(w wish, handle uint64) *dsm.Segment {
	if w.own {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.segments[dsm.Handle(handle)]
}

// keep makes g the one that is kept, unless another goroutine was faster.
func (n *names) keep(w wish, g *dsm.Segment) *dsm.Segment {
	if w.own {
		return g
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if is := n.segments[g.Handle()]; is != nil {
		_ = g.Detach()
		return is
	}
	n.segments[g.Handle()] = g
	return g
}

// heap is an area of a name. What fill puts into a new one is its table.
func heap(ctx context.Context, s *dsm.Session, w wish, o dsa.Options, fill func(*dsa.Area) (table uint64, err error)) (*dsa.Area, *record, error) {
	var is *record
	attach := func(n *names, r *record) (*dsa.Area, error) {
		is = r
		return area.Attach(ctx, s, w.owner, dsm.Handle(r.handle))
	}
	a, err := obtain(ctx, s, w, attach, func(c *claim) (*dsa.Area, error) {
		a, err := dsa.Create(ctx, &noting{SegmentSource: area.Source(s, w.owner), claim: c}, s.Self(), o)
		if err != nil {
			return nil, err
		}
		done := false
		defer func() {
			if !done {
				_ = a.Detach()
			}
		}()
		if !w.transient {
			if err := a.Pin(ctx); err != nil {
				return nil, err
			}
		}
		failpoint.Hit("registry/area/pinned")
		var table uint64
		if fill != nil {
			if table, err = fill(a); err != nil {
				return nil, err
			}
		}
		if err := c.publish(ctx, table); err != nil {
			return nil, err
		}
		done = true
		is = &c.record
		is.table = table
		return a, nil
	})
	return a, is, err
}

// noting is where a new area gets its segments from: of the first one it is noted whose it is before anybody pins it.
type noting struct {
	dsa.SegmentSource
	claim *claim // nil after that
}

func (o *noting) Create(ctx context.Context, size int) (dsa.Segment, error) {
	g, err := o.SegmentSource.Create(ctx, size)
	if c := o.claim; c != nil && err == nil {
		o.claim = nil
		if err = c.note(ctx, g.Handle()); err != nil {
			return nil, errors.Join(err, g.Detach())
		}
	}
	return g, err
}

// drop removes what a record stands for, as far as it is there. An area that others have attached, who may die, is not gone yet.
func (n *names) drop(ctx context.Context, r *record) (gone bool, err error) {
	if r.handle == 0 {
		return true, nil
	}
	h := dsm.Handle(r.handle)
	if r.kind != kindSegment {
		switch a, err := area.Attach(ctx, n.session, n.session.Owner(), h); {
		case err == nil:
			err = a.Unpin(ctx)
			failpoint.Hit("registry/drop/unpinned")
			if err = errors.Join(err, a.Detach()); err != nil { // the last one out removes it
				return false, err
			}
			g, err := n.session.Attach(ctx, n.session.Owner(), h)
			if err == nil {
				return false, g.Detach()
			}
			return errors.Is(err, ErrNotFound), ignore(err, ErrNotFound)
		case !errors.Is(err, ErrNotFound) && !errors.Is(err, errkind.Corrupt):
			return false, err
		}
	}
	return true, ignore(n.session.Unpin(ctx, h), ErrNotFound)
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
