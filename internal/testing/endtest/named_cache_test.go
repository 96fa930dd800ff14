package endtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/registry"
)

// serial tells names apart.
var serial atomic.Int64

// ofItsOwn hands f a cache that no one else has.
func (w *world) ofItsOwn(i int, f func(c *cache.Cache) error) error {
	name := fmt.Sprint("end cache ", i, " ", serial.Add(1))
	c, err := cache.Open(ctx, w.s, name, cache.Options{Limit: cache.MinLimit})
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close(), registry.Delete(ctx, w.s, name))
}

var usesOfNamedCache = map[string]use{
	"cache.Open": func(w *world, i int) error {
		return w.ofItsOwn(i, func(c *cache.Cache) error { return c.Set(ctx, key(1), value) })
	},
	"cache.Cache.Close": func(w *world, i int) error {
		return w.ofItsOwn(i, func(c *cache.Cache) error {
			_ = c.Close()
			if err := c.Set(ctx, key(1), value); !errors.Is(err, cache.ErrClosed) {
				return wrong("a closed cache: %v", err)
			}
			return nil
		})
	},
	"cache.Cache.Get": func(w *world, i int) error {
		b, is, err := w.pages.Get(key(1), nil)
		if err == nil && is && !bytes.Equal(b, value) {
			return wrong("the value of a cached key is %q", b)
		}
		return found(is, err)
	},
	"cache.Cache.GetFunc": func(w *world, i int) error {
		is, err := w.pages.GetFunc(key(1), func([]byte) {})
		return found(is, err)
	},
	"cache.Cache.GetMany": func(w *world, i int) error { return w.pages.GetMany([][]byte{key(1), key(2)}, func(int, []byte) {}) },
	"cache.Cache.Peek":    func(w *world, i int) error { _, is, err := w.pages.Peek(key(1), nil); return found(is, err) },
	"cache.Cache.Has":     func(w *world, i int) error { is, err := w.pages.Has(key(1)); return found(is, err) },
	"cache.Cache.Info":    func(w *world, i int) error { _, is, err := w.pages.Info(key(1)); return found(is, err) },
	"cache.Cache.Set": func(w *world, i int) error {
		return errors.Join(w.pages.Set(ctx, key(1), value), w.pages.Set(ctx, key(mine(i)), value, cache.With{Tags: []string{"end"}}))
	},
	"cache.Cache.SetMany": func(w *world, i int) error {
		return w.pages.SetMany(ctx, []cache.Item{{Key: key(mine(i)), Value: value}})
	},
	"cache.Cache.Add":     func(w *world, i int) error { _, err := w.pages.Add(ctx, key(mine(i)), value); return err },
	"cache.Cache.Replace": func(w *world, i int) error { _, err := w.pages.Replace(ctx, key(mine(i)), value); return err },
	"cache.Cache.CompareAndSet": func(w *world, i int) error {
		_, err := w.pages.CompareAndSet(ctx, key(mine(i)), value, value)
		return err
	},
	"cache.Cache.Incr":   func(w *world, i int) error { _, err := w.pages.Incr(ctx, key(uint64(5000+i)), 1); return err },
	"cache.Cache.Touch":  func(w *world, i int) error { _, err := w.pages.Touch(ctx, key(mine(i))); return err },
	"cache.Cache.Delete": func(w *world, i int) error { _, err := w.pages.Delete(ctx, key(mine(i))); return err },
	"cache.Cache.DeleteMany": func(w *world, i int) error {
		_, err := w.pages.DeleteMany(ctx, [][]byte{key(mine(i))})
		return err
	},
	"cache.Cache.DeleteTag": func(w *world, i int) error { return w.pages.DeleteTag("end") },
	"cache.Cache.Purge": func(w *world, i int) error {
		return w.ofItsOwn(i, func(c *cache.Cache) error { return c.Purge(ctx) })
	},
	"cache.Cache.Resize": func(w *world, i int) error {
		return w.ofItsOwn(i, func(c *cache.Cache) error { return c.Resize(ctx, c.Limit()) })
	},
	"cache.Cache.Load": func(w *world, i int) error {
		b, err := w.pages.Load(ctx, key(mine(i)), nil, func(context.Context) ([]byte, error) { return value, nil })
		if err == nil && len(b) == 0 {
			return wrong("a loaded value is empty")
		}
		return err
	},
	"cache.Cache.All": func(w *world, i int) error {
		for _, err := range w.pages.All(ctx) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"cache.Cache.Verify": func(w *world, i int) error {
		r, err := w.pages.Verify(ctx)
		if err == nil && len(r.Wrong) > 0 {
			return wrong("%v", r.Wrong)
		}
		return err
	},
	"cache.Cache.Stats":    func(w *world, i int) error { _, err := w.pages.Stats(); return err },
	"cache.Cache.Curve":    func(w *world, i int) error { _ = w.pages.Curve(); return nil },
	"cache.Cache.Limit":    func(w *world, i int) error { _ = w.pages.Limit(); return nil },
	"cache.Cache.MaxKey":   func(w *world, i int) error { _ = w.pages.MaxKey(); return nil },
	"cache.Cache.MaxValue": func(w *world, i int) error { _ = w.pages.MaxValue(); return nil },
	"cache.Cache.Shared":   func(w *world, i int) error { _ = w.pages.Shared(); return nil },
	"cache.Typed.Get":      func(w *world, i int) error { _, is, err := w.typed().Get(7); _ = is; return err },
	"cache.Typed.Set":      func(w *world, i int) error { return w.typed().Set(ctx, uint64(i), 8) },
	"cache.Typed.Delete":   func(w *world, i int) error { _, err := w.typed().Delete(ctx, uint64(i)); return err },
	"cache.Typed.Load": func(w *world, i int) error {
		_, err := w.typed().Load(ctx, uint64(i), func(context.Context) (uint64, error) { return 9, nil })
		return err
	},
}

func (w *world) typed() cache.Typed[uint64, uint64] {
	t, err := cache.Of[uint64, uint64](w.pages, nil)
	if err != nil {
		panic(err)
	}
	return t
}
