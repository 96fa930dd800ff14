package logcache

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Purge deletes all entries. It empties one shard after another, under its lock, for which it waits until ctx is over;
// what is set meanwhile may stay or go. What is being loaded then is not stored.
func (c *Cache) Purge(ctx context.Context) error {
	if c.view.Ended() {
		return c.closed()
	}
	for i := range c.shards {
		if err := c.purge(ctx, i); err != nil {
			return c.orClosed(err)
		}
	}
	return c.orClosed(nil)
}

func (c *Cache) purge(ctx context.Context, i int) (err error) {
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, i)
	if err != nil {
		return err
	}
	defer t.unlock()
	t.purgeLocked()
	t.done = true
	return nil
}

// purgeLocked frees every extent of the logs: then no slot leads anywhere. A death in the middle leaves some of them. It
// runs under the shard's lock.
func (t *turn) purgeLocked() {
	c, s := t.c, t.s
	s.dirty.Store(1)
	t.overtakeAllLocked()
	failpoint.Hit("logcache/purge/overtaken")
	s.purged.Add(s.entries.Load())
	for k := range c.each {
		r := &c.rows[t.i*c.each+k]
		if state := r.state.Load(); state != stateWindow && state != stateMain {
			continue
		}
		c.lives[t.i*c.each+k].Add(1)
		failpoint.Hit("logcache/purge/life")
		r.state.Store(stateFree)
		failpoint.Hit("logcache/purge/free")
	}
	t.remakeLocked()
	failpoint.Hit("logcache/purge/remade")
	s.dirty.Store(0)
}
