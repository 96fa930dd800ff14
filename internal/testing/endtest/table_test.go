package endtest

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/toc"
)

// found checks the answer for a key that is there.
func found(is bool, err error) error {
	if err == nil && !is {
		return wrong("a key that is there was not found")
	}
	return err
}

// mine is a key that only user i sets and deletes.
func mine(i int) uint64 { return 1000 + uint64(i) }

// entered hands f an exclusive entry of user i's own.
func (w *world) entered(i int, f func(e *dshash.Entry[uint64, uint64]) error) error {
	e, _, err := w.table.Insert(ctx, mine(i))
	if err != nil {
		return err
	}
	defer e.Release()
	return f(&e)
}

func (w *world) enteredBytes(i int, f func(e *dshash.BytesEntry) error) error {
	e, _, err := w.bytes.Insert(ctx, key(mine(i)), 10)
	if err != nil {
		return err
	}
	defer e.Release()
	return f(&e)
}

// walked goes through what an iterator yields.
func walked[X any](w *world, seq iter.Seq2[X, error], right func(X) bool) error {
	n := 0
	for x, err := range seq {
		if err != nil {
			return err
		}
		if n++; !right(x) {
			return wrong("an iterator has yielded %v", x)
		}
	}
	if n < 16 && !w.over() {
		return wrong("an iterator has yielded %d entries", n)
	}
	return nil
}

// inTable hands f a table of its own.
func (w *world) inTable(f func(t *dshash.Table[uint64, uint64]) error) error {
	t, err := dshash.Create[uint64, uint64](w.area, dshash.Options{Partitions: 2})
	if err != nil {
		return err
	}
	return errors.Join(f(t), t.Destroy(ctx))
}

var usesOfTable = map[string]use{
	"dshash.Create": func(w *world, i int) error {
		return w.inTable(func(t *dshash.Table[uint64, uint64]) error { return t.Set(ctx, 1, 2) })
	},
	"dshash.CreateInto": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error {
			t, err := dshash.CreateInto[uint64, uint64](w.area, at, dshash.Options{Partitions: 2})
			if err == nil {
				err = t.Destroy(ctx)
			}
			return err
		})
	},
	"dshash.Attach": func(w *world, i int) error {
		t, err := dshash.Attach[uint64, uint64](w.area, w.table.Handle(), dshash.Options{})
		if err == nil {
			_, is, gerr := t.Get(ctx, 3)
			err = found(is, gerr)
		}
		return err
	},
	"dshash.VerifyAt": func(w *world, i int) error {
		rep, err := dshash.VerifyAt(ctx, w.area, w.table.Handle())
		if err == nil && len(rep.Problems) > 0 {
			err = wrong("%s", rep.Problems[0])
		}
		return err
	},
	"dshash.Table.Get": func(w *world, i int) error {
		v, is, err := w.table.Get(ctx, 3)
		if err == nil && is && v != 103 {
			return wrong("the value of 3 is %d", v)
		}
		return found(is, err)
	},
	"dshash.Table.Find": func(w *world, i int) error {
		e, is, err := w.table.Find(ctx, 4)
		if is {
			e.Release()
		}
		return found(is, err)
	},
	"dshash.Table.FindExclusive": func(w *world, i int) error {
		e, is, err := w.table.FindExclusive(ctx, 4)
		if is {
			e.Release()
		}
		return found(is, err)
	},
	"dshash.Table.Insert": func(w *world, i int) error {
		return w.entered(i, func(*dshash.Entry[uint64, uint64]) error { return nil })
	},
	"dshash.Table.Set": func(w *world, i int) error { return w.table.Set(ctx, mine(i), 3) },
	"dshash.Table.Delete": func(w *world, i int) error {
		if err := w.table.Set(ctx, mine(i), 3); err != nil {
			return err
		}
		return found(w.table.Delete(ctx, mine(i)))
	},
	"dshash.Table.Destroy": func(w *world, i int) error {
		return w.inTable(func(*dshash.Table[uint64, uint64]) error { return nil })
	},
	"dshash.Table.Dump":   func(w *world, i int) error { return w.table.Dump(ctx, io.Discard) },
	"dshash.Table.Handle": func(w *world, i int) error { _ = w.table.Handle(); return nil },
	"dshash.Table.Len":    func(w *world, i int) error { _ = w.table.Len(); return nil },
	"dshash.Table.Scan": func(w *world, i int) error {
		n := 0
		for e, err := range w.table.Scan(ctx, i%2 == 0) {
			if err != nil {
				return err
			}
			_ = e.Key()
			n++
		}
		if n < 16 && !w.over() {
			return wrong("a scan met %d entries", n)
		}
		return nil
	},
	"dshash.Table.Update": func(w *world, i int) error {
		return w.table.Update(ctx, mine(i), func(v *uint64, _ bool) error { *v = 3; return nil })
	},
	"dshash.Table.All": func(w *world, i int) error {
		return walked(w, w.table.All(ctx), func(x dshash.Item[uint64, uint64]) bool {
			return x.Key >= 16 || x.Value == x.Key+100 || x.Key == 3
		})
	},
	"dshash.Table.Keys": func(w *world, i int) error { return walked(w, w.table.Keys(ctx), func(uint64) bool { return true }) },
	"dshash.Table.Verify": func(w *world, i int) error {
		rep, err := w.table.Verify(ctx)
		if err == nil && len(rep.Problems) > 0 {
			err = wrong("%s", rep.Problems[0])
		}
		return err
	},
	"dshash.Entry.Key": func(w *world, i int) error {
		return w.entered(i, func(e *dshash.Entry[uint64, uint64]) error { _ = e.Key(); return nil })
	},
	"dshash.Entry.Value": func(w *world, i int) error {
		return w.entered(i, func(e *dshash.Entry[uint64, uint64]) error {
			if v := e.Value(); v != nil {
				_ = *v
			}
			return nil
		})
	},
	"dshash.Entry.Update": func(w *world, i int) error {
		return w.entered(i, func(e *dshash.Entry[uint64, uint64]) error {
			v, err := e.Update()
			if err == nil {
				*v = 8
			}
			return err
		})
	},
	"dshash.Entry.Delete": func(w *world, i int) error {
		return w.entered(i, func(e *dshash.Entry[uint64, uint64]) error { return e.Delete() })
	},
	"dshash.Entry.Release": func(w *world, i int) error {
		return w.entered(i, func(e *dshash.Entry[uint64, uint64]) error { e.Release(); e.Release(); return nil })
	},
}

var usesOfBytes = map[string]use{
	"dshash.CreateBytes": func(w *world, i int) error {
		t, err := dshash.CreateBytes(w.area, dshash.Options{Partitions: 2})
		if err == nil {
			err = errors.Join(t.Set(ctx, key(1), value), t.Destroy(ctx))
		}
		return err
	},
	"dshash.CreateBytesInto": func(w *world, i int) error {
		return w.placed(func(at dsa.Place) error {
			t, err := dshash.CreateBytesInto(w.area, at, dshash.Options{Partitions: 2})
			if err == nil {
				err = t.Destroy(ctx)
			}
			return err
		})
	},
	"dshash.AttachBytes": func(w *world, i int) error {
		_, err := dshash.AttachBytes(w.area, w.bytes.Handle(), dshash.Options{})
		return err
	},
	"dshash.Bytes.Get": func(w *world, i int) error {
		b, is, err := w.bytes.Get(ctx, key(3), nil)
		if err == nil && is && string(b) != string(value) {
			return wrong("a value is %q", b)
		}
		return found(is, err)
	},
	"dshash.Bytes.Find": func(w *world, i int) error {
		e, is, err := w.bytes.Find(ctx, key(4))
		if is {
			e.Release()
		}
		return found(is, err)
	},
	"dshash.Bytes.FindExclusive": func(w *world, i int) error {
		e, is, err := w.bytes.FindExclusive(ctx, key(4))
		if is {
			e.Release()
		}
		return found(is, err)
	},
	"dshash.Bytes.Insert": func(w *world, i int) error {
		return w.enteredBytes(i, func(*dshash.BytesEntry) error { return nil })
	},
	"dshash.Bytes.Set": func(w *world, i int) error { return w.bytes.Set(ctx, key(mine(i)), value) },
	"dshash.Bytes.Delete": func(w *world, i int) error {
		if err := w.bytes.Set(ctx, key(mine(i)), value); err != nil {
			return err
		}
		return found(w.bytes.Delete(ctx, key(mine(i))))
	},
	"dshash.Bytes.Destroy": func(w *world, i int) error {
		t, err := dshash.CreateBytes(w.area, dshash.Options{Partitions: 2})
		if err == nil {
			err = t.Destroy(ctx)
		}
		return err
	},
	"dshash.Bytes.Dump":   func(w *world, i int) error { return w.bytes.Dump(ctx, io.Discard) },
	"dshash.Bytes.Handle": func(w *world, i int) error { _ = w.bytes.Handle(); return nil },
	"dshash.Bytes.Len":    func(w *world, i int) error { _ = w.bytes.Len(); return nil },
	"dshash.Bytes.Scan": func(w *world, i int) error {
		n := 0
		for e, err := range w.bytes.Scan(ctx, i%2 == 0) {
			if err != nil {
				return err
			}
			_, _ = e.Key(), e.Value()
			n++
		}
		if n < 16 && !w.over() {
			return wrong("a scan met %d entries", n)
		}
		return nil
	},
	"dshash.Bytes.Update": func(w *world, i int) error {
		return w.bytes.Update(ctx, key(mine(i)), func([]byte, bool) ([]byte, error) { return value, nil })
	},
	"dshash.Bytes.All": func(w *world, i int) error {
		return walked(w, w.bytes.All(ctx), func(x dshash.Item[[]byte, []byte]) bool {
			return bytes.HasPrefix(x.Key, []byte("key ")) && len(x.Value) > 0
		})
	},
	"dshash.Bytes.Keys": func(w *world, i int) error {
		return walked(w, w.bytes.Keys(ctx), func(k []byte) bool { return bytes.HasPrefix(k, []byte("key ")) })
	},
	"dshash.Bytes.Verify": func(w *world, i int) error {
		rep, err := w.bytes.Verify(ctx)
		if err == nil && len(rep.Problems) > 0 {
			err = wrong("%s", rep.Problems[0])
		}
		return err
	},
	"dshash.BytesEntry.Key": func(w *world, i int) error {
		return w.enteredBytes(i, func(e *dshash.BytesEntry) error { _ = len(e.Key()); return nil })
	},
	"dshash.BytesEntry.Value": func(w *world, i int) error {
		return w.enteredBytes(i, func(e *dshash.BytesEntry) error { _ = len(e.Value()); return nil })
	},
	"dshash.BytesEntry.Update": func(w *world, i int) error {
		return w.enteredBytes(i, func(e *dshash.BytesEntry) error {
			b, err := e.Update(100)
			clear(b)
			return err
		})
	},
	"dshash.BytesEntry.Delete": func(w *world, i int) error {
		return w.enteredBytes(i, func(e *dshash.BytesEntry) error { return e.Delete() })
	},
	"dshash.BytesEntry.Release": func(w *world, i int) error {
		return w.enteredBytes(i, func(e *dshash.BytesEntry) error { e.Release(); e.Release(); return nil })
	},
}

// tocKeys makes each key of a table of contents a new one.
var tocKeys atomic.Uint64

var usesOfToc = map[string]use{
	"toc.Create": func(w *world, i int) error {
		return w.fresh(func(g *dsm.Segment) error { _, err := toc.Create(g.Region(), 1); return err })
	},
	"toc.Attach": func(w *world, i int) error {
		t, err := toc.Attach(w.tocRegion, 1)
		if err == nil {
			_, err = t.Lookup(1)
		}
		return err
	},
	"toc.Get": func(w *world, i int) error {
		n, err := toc.Get[atomic.Uint64](w.toc, 1)
		if err == nil && n.Load() != 1 && !w.over() {
			err = wrong("the number in the table of contents is %d", n.Load())
		}
		return err
	},
	"toc.GetSlice": func(w *world, i int) error { _, err := toc.GetSlice[uint64](w.toc, 2); return err },
	"toc.Put": func(w *world, i int) error {
		_, err := toc.Put(w.toc, 100+tocKeys.Add(1), func(*uint64) error { return nil })
		return unless(err, toc.ErrFull)
	},
	"toc.PutSlice": func(w *world, i int) error {
		_, err := toc.PutSlice(w.toc, 100+tocKeys.Add(1), 2, func([]uint64) error { return nil })
		return unless(err, toc.ErrFull)
	},
	"toc.Toc.Allocate": func(w *world, i int) error { _, err := w.toc.Allocate(10); return unless(err, toc.ErrFull) },
	"toc.Toc.Free":     func(w *world, i int) error { _, err := w.toc.Free(); return err },
	"toc.Toc.Insert": func(w *world, i int) error {
		off, err := w.toc.Allocate(8)
		if err == nil {
			err = w.toc.Insert(100+tocKeys.Add(1), off, 8)
		}
		return unless(err, toc.ErrFull)
	},
	"toc.Toc.Lookup": func(w *world, i int) error { _, err := w.toc.Lookup(1); return err },
}
