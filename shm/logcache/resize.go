package logcache

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Room is who has the memory of the region: extents that Resize takes out of use are given back to the system by
// Release, and asked back by Reserve before they are used again. Both may be nil: then the memory stays, and is not
// used.
type Room struct {
	Release func(bytes []byte) error
	Reserve func(bytes []byte) error
}

// Least returns the smallest limit that Resize accepts for this cache.
func (c *Cache) Least() int { return c.limit - max(c.each-leastExtents, 0)*c.extent*c.nshards }

// Limit returns how many bytes the cache may use now.
func (c *Cache) Limit() int {
	if c.view.Ended() {
		return 0
	}
	n := c.limit
	_ = fault.Contain(func() error {
		if now := c.head.now.Load(); now != 0 && now <= uint64(c.limit) {
			n = int(now)
		}
		return nil
	})
	return n
}

// leastExtents is how many extents a shard has at least.
const leastExtents = 40

// Resize makes limit the number of bytes that the cache may use, from Least to the size of the region. Extents are
// taken out of use or into use, in one shard after another under its lock; to free one entries are evicted, as Set
// would. Other calls go on between the shards. What was done when ctx is over, or when the system refuses memory,
// stays; a later call goes on.
func (c *Cache) Resize(ctx context.Context, limit int, room Room) (err error) {
	if c.view.Ended() {
		return c.closed()
	}
	if limit < c.Least() || limit > c.limit {
		return errkind.As(ErrSize, fmt.Errorf("logcache: a limit of %d bytes: this cache can have from %d to %d",
			limit, c.Least(), c.limit))
	}
	row := c.extent * c.nshards // one of each shard
	keep := c.each - (c.limit-limit+row-1)/row
	if err := fault.Contain(func() error {
		if c.Limit() < limit { // a limit is never lower than what is in use
			c.head.now.Store(uint64(limit))
		}
		return nil
	}); err != nil {
		return c.orClosed(err)
	}
	for i := range c.shards {
		for n, done := 0, false; !done; n++ {
			if n > 4*c.each {
				return corrupt("shard %d cannot be resized", i)
			}
			if done, err = c.resize(ctx, i, keep, room); err != nil {
				return c.orClosed(err)
			}
			if ctx.Err() != nil {
				return fmt.Errorf("logcache: resizing shard %d of %d: %w", i, c.nshards, context.Cause(ctx))
			}
		}
	}
	return c.orClosed(fault.Contain(func() error { c.head.now.Store(uint64(limit)); return nil }))
}

// resize takes one extent of a shard out of use or into use. It reports whether the shard has as many as it is to keep.
func (c *Cache) resize(ctx context.Context, i, keep int, room Room) (done bool, err error) {
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, i)
	if err != nil {
		return false, err
	}
	defer t.unlock()
	done, err = t.resizeLocked(keep, room)
	t.done = true
	return done, err
}

// resizeLocked runs under the shard's lock. Memory goes back after the extent is out of use, and comes before it is in
// use.
func (t *turn) resizeLocked(keep int, room Room) (done bool, err error) {
	c, s := t.c, t.s
	in := c.each - int(min(s.away.Load(), uint32(c.each)))
	switch {
	case in > keep:
		t.cleaner, t.policy = cleaner{turn: t}, t.policyLocked()
		t.cleaner.leave = 1
		if int(min(s.index.Load(), uint32(c.each)))+leastExtents/2 > keep {
			return false, errkind.As(ErrSize, fmt.Errorf(
				"logcache: %d extents of a shard are of the index, which does not shrink: %d can't be all", s.index.Load(), keep))
		}
		t.cleaner.roomLocked(&t.policy, c.extent)
		t.cleaner.freeLocked(spareExtents + 1)
		e, ok := t.takeExtentLocked(stateAway, 0)
		if !ok {
			return false, nil
		}
		s.away.Store(s.away.Load() + 1)
		failpoint.Hit("logcache/resize/away")
		if room.Release != nil {
			err = room.Release(c.extentOf(e))
		}
		failpoint.Hit("logcache/resize/released")
		return in-1 == keep, err
	case in < keep:
		for k := range c.each {
			e := uint32(t.i*c.each+k) + 1
			if c.rows[e-1].state.Load() != stateAway {
				continue
			}
			if room.Reserve != nil {
				if err := room.Reserve(c.extentOf(e)); err != nil {
					return false, err
				}
			}
			failpoint.Hit("logcache/resize/reserved")
			c.rows[e-1].state.Store(stateFree)
			s.away.Store(s.away.Load() - 1)
			s.free.Store(s.free.Load() + 1)
			failpoint.Hit("logcache/resize/back")
			return in+1 == keep, nil
		}
		t.markDirtyLocked("extents are counted as out of use, and there are none")
		return false, nil
	}
	return true, nil
}

// awayLocked returns how much less the logs may have since Resize has taken extents out of use. It runs under the
// shard's lock.
func (t *turn) awayLocked() int { return int(min(t.s.away.Load(), uint32(t.c.each-leastExtents))) }
