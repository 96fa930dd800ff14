package cache

import (
	"context"
	"iter"

	"github.com/godsm/godsm/shm/logcache"
)

// All yields the entries that Get would find, with copies. An entry that stays throughout is among them, once or, if
// it is set or moved meanwhile, more than once. No lock is held while the body of the loop runs. An error ends it.
func (c *Cache) All(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if err := c.errIfNotReady(); err != nil || c.off {
			if err != nil {
				yield(Item{}, err)
			}
			return
		}
		stopped := false
		err := c.engine.Walk(ctx, func(i logcache.Item) bool {
			if i.Entry.Absent || i.Entry.Stale(c.clock.now()) {
				return true
			}
			stopped = !yield(Item{i.Key, i.Entry.Value, c.info(&i.Entry)}, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(Item{}, c.cacheError("walk through", err))
		}
	}
}

// Verify walks the whole cache, part by part, and lists what cannot be.
func (c *Cache) Verify(ctx context.Context) (r Report, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return r, err
	}
	r, err = c.engine.Verify(ctx)
	return r, c.cacheError("verify", err)
}
