package endtest

import (
	"bytes"
	"errors"
	"time"

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

// loaded claims a load, and ends it.
func (w *world) loaded(i int) error {
	l, _, err := w.cache.Claim(ctx, key(mine(i)), true)
	if err != nil {
		return err
	}
	return w.cache.Abandon(ctx, l)
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
	"logcache.Cache.Put": func(w *world, i int) error {
		tag, err := w.cache.TagOf(key(9))
		if err != nil {
			return err
		}
		e := logcache.Entry{Value: value, Tags: [logcache.MaxTags]logcache.Tag{tag}}
		_, err = w.cache.Put(ctx, key(mine(i)), e, logcache.IfPresent)
		return err
	},
	"logcache.Cache.Look": func(w *world, i int) error {
		e, _, is, err := w.cache.Look(key(1), nil, false)
		if err == nil && is && !bytes.Equal(e.Value, value) {
			return wrong("the value of a cached key is %q", e.Value)
		}
		return found(is, err)
	},
	"logcache.Cache.Peek":      func(w *world, i int) error { _, is, err := w.cache.Peek(key(1), nil); return found(is, err) },
	"logcache.Cache.TagOf":     func(w *world, i int) error { _, err := w.cache.TagOf(key(1)); return err },
	"logcache.Cache.DeleteTag": func(w *world, i int) error { return w.cache.DeleteTag(key(mine(i))) },
	"logcache.Cache.Claim":     func(w *world, i int) error { return w.loaded(i) },
	"logcache.Cache.Abandon":   func(w *world, i int) error { return w.loaded(i) },
	"logcache.Cache.Fail": func(w *world, i int) error {
		l, _, err := w.cache.Claim(ctx, key(mine(i)), true)
		if err != nil {
			return err
		}
		return w.cache.Fail(ctx, l, logcache.Failed, "why")
	},
	"logcache.Cache.Await": func(w *world, i int) error {
		l, _, err := w.cache.Claim(ctx, key(mine(i)), true)
		if err != nil {
			return err
		}
		_, err = w.cache.Await(ctx, l, time.Millisecond)
		return errors.Join(err, w.cache.Abandon(ctx, l))
	},
	"logcache.Cache.Walk": func(w *world, i int) error {
		return w.cache.Walk(ctx, func(x logcache.Item) bool { return len(x.Key) > 0 })
	},
	"logcache.Cache.Purge": func(w *world, i int) error {
		return w.inCache(func(c *logcache.Cache, _ *dsm.Segment) error {
			return errors.Join(c.Set(ctx, key(1), value, 0), c.Purge(ctx))
		})
	},
	"logcache.Cache.Resize": func(w *world, i int) error {
		return w.inCache(func(c *logcache.Cache, _ *dsm.Segment) error {
			return errors.Join(c.Set(ctx, key(1), value, 0), c.Resize(ctx, c.Least(), logcache.Room{}))
		})
	},
	"logcache.Cache.Limit":    func(w *world, i int) error { _ = w.cache.Limit(); return nil },
	"logcache.Cache.Curve":    func(w *world, i int) error { _ = w.cache.Curve(); return nil },
	"logcache.Cache.Prefetch": func(w *world, i int) error { w.cache.Prefetch([][]byte{key(1), key(2)}); return nil },
	"logcache.Cache.Delete":   func(w *world, i int) error { _, err := w.cache.Delete(ctx, key(mine(i))); return err },
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
