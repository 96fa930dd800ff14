package endtest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
)

// use calls one method, for user i, and returns its error, or one of its own if the answer is wrong. As long as the session
// is open it returns nil, or that a wait has ended with its context.
type use func(w *world, i int) error

func wrong(format string, args ...any) error { return fmt.Errorf("wrong: "+format, args...) }

// uses has each exported method of everything that holds a mapping. TestEveryMethodHasAUse compares it with the source.
var uses = map[string]use{}

func init() {
	for _, part := range []map[string]use{
		usesOfDsm, usesOfSync, usesOfMail, usesOfQueues, usesOfNet, usesOfToc, usesOfArea, usesOfTable, usesOfBytes, usesOfNames, usesOfCache,
		usesOfNamedCache, usesOfLocks, usesOfBatch,
	} {
		for name, f := range part {
			uses[name] = f
		}
	}
}

var usesOfDsm = map[string]use{
	"dsm.Session.Create": func(w *world, i int) error {
		g, err := w.s.Create(ctx, w.s.Owner(), 1000)
		if err == nil {
			err = g.Detach()
		}
		return err
	},
	"dsm.Session.CreateFrom": func(w *world, i int) error {
		g, err := w.s.CreateFrom(ctx, nil, bytes.NewReader(make([]byte, 1000)), 1000)
		if err == nil {
			err = g.Detach()
		}
		return err
	},
	"dsm.New": func(w *world, i int) error {
		n, g, err := dsm.New[uint64](ctx, w.s, nil)
		if err == nil {
			*n = 1
			err = g.Detach()
		}
		return err
	},
	"dsm.AttachAs": func(w *world, i int) error {
		n, g, err := dsm.New[uint64](ctx, w.s, nil)
		if err != nil {
			return err
		}
		m, h, err := dsm.AttachAs[uint64](ctx, w.s, nil, g.Handle())
		if err == nil {
			*n = *m
			err = h.Detach()
		}
		return errors.Join(err, g.Detach())
	},
	"dsm.Session.Attach": func(w *world, i int) error {
		g, err := w.s.Attach(ctx, w.s.Owner(), w.seg.Handle())
		if err == nil {
			err = g.Detach()
		}
		return err
	},
	"dsm.Session.Contain": func(w *world, i int) error {
		return w.s.Contain(func() error {
			b := w.seg.Bytes()
			if len(b) > 0 {
				b[1] = b[len(b)-1]
			}
			return nil
		})
	},
	"dsm.Session.Err":      func(w *world, i int) error { return w.s.Err() },
	"dsm.Session.Root":     func(w *world, i int) error { _, err := w.s.Root(ctx, nil); return err },
	"dsm.Session.Segments": func(w *world, i int) error { _, err := w.s.Segments(ctx); return err },
	"dsm.Session.Sessions": func(w *world, i int) error { _, err := w.s.Sessions(ctx); return err },
	"dsm.Session.Status":   func(w *world, i int) error { _, err := w.s.Status(ctx); return err },
	"dsm.Session.Self": func(w *world, i int) error {
		self := w.s.Self()
		if !self.Alive(self.Peer) {
			return wrong("a session holds itself for dead")
		}
		return nil
	},
	"dsm.Session.Unpin": func(w *world, i int) error {
		if err := w.s.Unpin(ctx, w.seg.Handle()); !errors.Is(err, dsm.ErrNotFound) {
			return err
		}
		return nil
	},
	"dsm.Segment.Handle": func(w *world, i int) error { _ = w.seg.Handle(); return nil },
	"dsm.Segment.Size":   func(w *world, i int) error { _ = w.seg.Size(); return nil },
	"dsm.Segment.Bytes":  func(w *world, i int) error { _ = w.seg.Bytes(); return nil },
	"dsm.Segment.Region": func(w *world, i int) error {
		if b, err := w.seg.Region().Bytes(0, segmentSize); err == nil {
			b[100] = 1
		}
		return nil
	},
	"dsm.Segment.With": func(w *world, i int) error {
		return w.seg.With(func(b []byte) error { b[1] = b[len(b)-1]; return nil })
	},
	"dsm.Segment.ReadAt":  func(w *world, i int) error { _, err := w.seg.ReadAt(make([]byte, 10), 20); return err },
	"dsm.Segment.WriteAt": func(w *world, i int) error { _, err := w.seg.WriteAt(make([]byte, 10), 20); return err },
	"dsm.Segment.Pin":     func(w *world, i int) error { return w.fresh(func(g *dsm.Segment) error { return g.Pin(ctx) }) },
	"dsm.Segment.Unpin": func(w *world, i int) error {
		return w.fresh(func(g *dsm.Segment) error {
			if err := g.Pin(ctx); err != nil {
				return err
			}
			return g.Unpin(ctx)
		})
	},
	"dsm.Segment.MoveTo": func(w *world, i int) error {
		return w.fresh(func(g *dsm.Segment) error { return g.MoveTo(w.s.Owner()) })
	},
	"dsm.Segment.OnDetach": func(w *world, i int) error { w.seg.OnDetach(func() {})(); return nil },
	"dsm.Segment.Detach":   func(w *world, i int) error { return w.fresh(func(g *dsm.Segment) error { return g.Detach() }) },
}

// fresh hands f a fresh segment, which goes afterwards, pinned or not.
func (w *world) fresh(f func(g *dsm.Segment) error) error {
	g, err := w.s.Create(ctx, w.s.Owner(), 1000)
	if err != nil {
		return err
	}
	err = f(g)
	if uerr := w.s.Unpin(ctx, g.Handle()); uerr != nil && !errors.Is(uerr, dsm.ErrNotFound) {
		err = errors.Join(err, uerr)
	}
	return errors.Join(err, g.Detach())
}
