package endtest

import (
	"bytes"
	"errors"
	"io"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// object hands f an object of its own of n bytes.
func (w *world) object(n int, f func(p dsa.Pointer) error) error {
	p, err := w.area.Alloc(n)
	if err != nil {
		return err
	}
	return errors.Join(f(p), w.area.Free(p))
}

// inArea hands f an area of its own.
func (w *world) inArea(f func(a *dsa.Area) error) error {
	a, err := area.Create(ctx, w.s, w.s.Owner(), dsa.Options{Initial: 64 << 10, Sessions: 4})
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Detach())
}

// placed hands f a place in an object.
func (w *world) placed(f func(at dsa.Place) error) error {
	return w.object(64, func(p dsa.Pointer) error {
		at, err := w.area.Place(p, 8)
		if err != nil {
			return err
		}
		at.Clear()
		return f(at)
	})
}

func (w *world) ownSource() (dsa.SegmentSource, shmsync.Self) {
	return area.Source(w.s, w.s.Owner()), w.s.Self()
}

var usesOfArea = map[string]use{
	"area.Create": func(w *world, i int) error { return w.inArea(func(*dsa.Area) error { return nil }) },
	"area.Attach": func(w *world, i int) error {
		a, err := area.Attach(ctx, w.s, w.s.Owner(), area.Handle(w.area))
		if err == nil {
			err = a.Detach()
		}
		return err
	},
	"area.Handle": func(w *world, i int) error { _ = area.Handle(w.area); return nil },
	"area.Source": func(w *world, i int) error {
		g, err := area.Source(w.s, w.s.Owner()).Create(ctx, 1000)
		if err == nil {
			err = g.Detach()
		}
		return err
	},
	"dsa.Create": func(w *world, i int) error {
		source, self := w.ownSource()
		a, err := dsa.Create(ctx, source, self, dsa.Options{Initial: 64 << 10, Sessions: 4})
		if err == nil {
			err = a.Detach()
		}
		return err
	},
	"dsa.Attach": func(w *world, i int) error {
		source, self := w.ownSource()
		a, err := dsa.Attach(ctx, source, self, w.area.Handle())
		if err == nil {
			err = a.Detach()
		}
		return err
	},
	"dsa.CreateInPlace": func(w *world, i int) error { return w.inPlace(func(a *dsa.Area, _ *dsm.Segment) error { return nil }) },
	"dsa.AttachInPlace": func(w *world, i int) error {
		return w.inPlace(func(_ *dsa.Area, g *dsm.Segment) error {
			source, self := w.ownSource()
			a, err := dsa.AttachInPlace(ctx, g.Region(), source, self)
			if err == nil {
				err = a.Detach()
			}
			return err
		})
	},
	"dsa.New": func(w *world, i int) error {
		r, x, err := dsa.New[uint64](w.area)
		if err != nil {
			return err
		}
		*x = 5
		return r.Free(w.area)
	},
	"dsa.Ref.In": func(w *world, i int) error {
		r, _, err := dsa.New[uint64](w.area)
		if err != nil {
			return err
		}
		_, err = r.In(w.area)
		return errors.Join(err, r.Free(w.area))
	},
	"dsa.Ref.Free": func(w *world, i int) error {
		r, _, err := dsa.New[[40]uint64](w.area)
		if err != nil {
			return err
		}
		return r.Free(w.area)
	},
	"dsa.Area.Alloc": func(w *world, i int) error { return w.object(100, func(dsa.Pointer) error { return nil }) },
	"dsa.Area.Free":  func(w *world, i int) error { return w.object(40000, func(dsa.Pointer) error { return nil }) },
	"dsa.Area.AllocZeroed": func(w *world, i int) error {
		p, err := w.area.AllocZeroed(1000)
		if err != nil {
			return err
		}
		b, err := w.area.Bytes(p)
		if err == nil && !bytes.Equal(b, make([]byte, 1000)) {
			err = wrong("not zeroed, %d bytes", len(b))
		}
		return errors.Join(err, w.area.Free(p))
	},
	"dsa.Area.Bytes": func(w *world, i int) error {
		return w.object(100, func(p dsa.Pointer) error {
			b, err := w.area.Bytes(p)
			if err == nil && len(b) != 100 {
				return wrong("%d bytes", len(b))
			}
			clear(b)
			return err
		})
	},
	"dsa.Area.Peek": func(w *world, i int) error {
		return w.object(100, func(p dsa.Pointer) error { _ = len(w.area.Peek(p)); return nil })
	},
	"dsa.Area.Place":  func(w *world, i int) error { return w.placed(func(dsa.Place) error { return nil }) },
	"dsa.Place.Clear": func(w *world, i int) error { return w.placed(func(at dsa.Place) error { at.Clear(); return nil }) },
	"dsa.Place.Set":   func(w *world, i int) error { return w.placed(func(at dsa.Place) error { at.Set(1); return nil }) },
	"dsa.Place.Pointer": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error { _ = at.Pointer(); return nil })
	},
	"dsa.Area.AllocInto": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error {
			if err := w.area.AllocInto(50, at); err != nil {
				return err
			}
			return w.area.FreeFrom(at)
		})
	},
	"dsa.Area.AllocBytesInto": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error {
			_, b, err := w.area.AllocBytesInto(50, at)
			if err != nil {
				return err
			}
			clear(b)
			return w.area.FreeFrom(at)
		})
	},
	"dsa.Area.FreeFrom": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error {
			if err := w.area.AllocInto(5000, at); err != nil {
				return err
			}
			return w.area.FreeFrom(at)
		})
	},
	"dsa.Area.Current":  func(w *world, i int) error { return w.area.Current() },
	"dsa.Area.Detach":   func(w *world, i int) error { return w.inArea(func(a *dsa.Area) error { return a.Detach() }) },
	"dsa.Area.Dump":     func(w *world, i int) error { return w.area.Dump(ctx, io.Discard) },
	"dsa.Area.Handle":   func(w *world, i int) error { _ = w.area.Handle(); return nil },
	"dsa.Area.Self":     func(w *world, i int) error { _ = w.area.Self(); return nil },
	"dsa.Area.Pin":      func(w *world, i int) error { return errors.Join(w.area.Pin(ctx), w.area.Unpin(ctx)) },
	"dsa.Area.Unpin":    func(w *world, i int) error { return w.area.Unpin(ctx) },
	"dsa.Area.Recover":  func(w *world, i int) error { _, err := w.area.Recover(ctx); return err },
	"dsa.Area.Returned": func(w *world, i int) error { _ = w.area.Returned(); return nil },
	"dsa.Area.SetWait":  func(w *world, i int) error { w.area.SetWait(0); return nil },
	"dsa.Area.SetLimit": func(w *world, i int) error { return w.area.SetLimit(ctx, 0) },
	"dsa.Area.Stats":    func(w *world, i int) error { _, err := w.area.Stats(ctx); return err },
	"dsa.Area.Total":    func(w *world, i int) error { _ = w.area.Total(); return nil },
	"dsa.Area.Trim":     func(w *world, i int) error { return w.area.Trim(ctx) },
	"dsa.Area.Verify": func(w *world, i int) error {
		rep, err := w.area.Verify(ctx)
		if err == nil && len(rep.Problems) > 0 {
			err = wrong("%s", rep.Problems[0])
		}
		return err
	},
}

func (w *world) inPlace(f func(*dsa.Area, *dsm.Segment) error) error {
	g, err := w.s.Create(ctx, w.s.Owner(), 160<<10)
	if err != nil {
		return err
	}
	source, self := w.ownSource()
	a, err := dsa.CreateInPlace(g.Region(), source, self, dsa.Options{Sessions: 4})
	if err == nil {
		err = errors.Join(f(a, g), a.Detach())
	}
	return errors.Join(err, g.Detach())
}
