package endtest

import (
	"bytes"
	"errors"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/logcache"
)

// inCache hands f a cache of its own, and its segment.
func (w *world) inCache(f func(c *logcache.Cache, g *dsm.Segment) error) error {
	g, err := w.s.Create(ctx, w.s.Owner(), logcache.MinLimit)
	if err != nil {
		return err
	}
	c, err := logcache.Create(g.Region(), w.s.Self(), logcache.Options{})
	if err == nil {
		err = f(c, g)
	}
	return errors.Join(err, g.Detach())
}

var usesOfCache = map[string]use{
	"logcache.Create": func(w *world, i int) error {
		return w.inCache(func(c *logcache.Cache, _ *dsm.Segment) error { return c.Set(ctx, key(1), value, 0) })
	},
	"logcache.Attach": func(w *world, i int) error {
		return w.inCache(func(_ *logcache.Cache, g *dsm.Segment) error {
			_, err := logcache.Attach(g.Region(), w.s.Self(), logcache.Options{})
			return err
		})
	},
	"logcache.Cache.Get": func(w *world, i int) error {
		b, is, err := w.cache.Get(key(1), nil)
		if err == nil && is && !bytes.Equal(b, value) {
			return wrong("the value of a cached key is %q", b)
		}
		return found(is, err)
	},
	"logcache.Cache.Set": func(w *world, i int) error {
		if err := w.cache.Set(ctx, key(1), value, 0); err != nil {
			return err
		}
		return w.cache.Set(ctx, key(mine(i)), make([]byte, 5000), 0)
	},
	"logcache.Cache.Delete": func(w *world, i int) error { _, err := w.cache.Delete(ctx, key(mine(i))); return err },
	"logcache.Cache.Verify": func(w *world, i int) error {
		r, err := w.cache.Verify(ctx)
		if err == nil && len(r.Wrong) > 0 {
			return wrong("%v", r.Wrong)
		}
		return err
	},
	"logcache.Cache.Stats": func(w *world, i int) error { _ = w.cache.Stats(); return nil },
	"logcache.Cache.Close": func(w *world, i int) error {
		return w.inCache(func(c *logcache.Cache, _ *dsm.Segment) error {
			c.Close()
			if err := c.Set(ctx, key(1), value, 0); !errors.Is(err, logcache.ErrClosed) {
				return err
			}
			return nil
		})
	},
}
