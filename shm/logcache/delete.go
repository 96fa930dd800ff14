package logcache

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Delete takes the key's entry out, at once and for all processes. It reports whether there was one.
func (c *Cache) Delete(ctx context.Context, key []byte) (found bool, err error) {
	if c.view.Ended() {
		return false, c.closed()
	}
	old, found, err := c.remove(ctx, hashOf(kindValue, key, c.seed), kindValue, key)
	if err == nil && old != (pieces{}) {
		c.dropPieces(ctx, old)
	}
	return found, c.orClosed(err)
}

// remove deletes one record. It returns the pieces that it was the head of.
func (c *Cache) remove(ctx context.Context, h hash, kind uint8, key []byte) (old pieces, found bool, err error) {
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, h.shard(c.nshards))
	if err != nil {
		return old, false, err
	}
	defer t.unlock()
	if kind == kindValue && t.s.loads.Load() != 0 {
		t.overtakeLocked(h, Condition{})
		failpoint.Hit("logcache/delete/overtaken")
	}
	p, r, found := t.findLocked(h, kind, key)
	if found {
		if r.kind == kindHead {
			old, _ = parseHead(r.value, c.MaxValue())
		}
		_, found = c.valid(&r)
		t.countDeadLocked(p.word(), r.size())
		t.clearSlotLocked(p)
		if kind == kindValue {
			t.s.deleted.Add(1)
		}
		failpoint.Hit("logcache/delete/cleared")
	}
	t.done = true
	return old, found, nil
}
