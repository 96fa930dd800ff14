package logcache

import (
	"context"

	"github.com/godsm/godsm/internal/sys/fault"
)

// Item is an entry that a walk has found. Key and Entry.Value are copies.
type Item struct {
	Key   []byte
	Entry Entry
	Size  int // bytes of its records, with headers and rounding
}

// Walk calls f for the entries, until f returns false. An entry that stays in the cache throughout is among them, once
// or, if it is moved or set meanwhile, more than once; of others some may be. The value is that of some moment of the
// walk. Walk takes the lock of a shard for the time in which it copies an extent, and holds none while f runs. It
// counts no uses.
//
// Extents are walked in the order of their numbers. An entry moves to extents with higher numbers only, so it is not
// missed.
func (c *Cache) Walk(ctx context.Context, f func(Item) bool) error {
	if c.view.Ended() {
		return c.closed()
	}
	for i := range c.shards {
		last := uint64(0)
		for range walkExtents * c.each {
			items, number, err := c.copyExtent(ctx, i, last)
			if err != nil {
				return c.orClosed(err)
			}
			if number == 0 {
				break
			}
			last = number
			for _, item := range items {
				if whole, err := c.complete(&item); err != nil {
					return c.orClosed(err)
				} else if whole && !f(item) {
					return c.orClosed(nil)
				}
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return c.orClosed(nil)
}

// walkExtents bounds a walk beside which others write as fast as it goes: so many times all extents of a shard.
const walkExtents = 3

// complete puts the value of an item together whose record is a head. It reports whether all pieces are there.
func (c *Cache) complete(item *Item) (whole bool, err error) {
	if item.Size > 0 {
		return true, nil
	}
	p, ok := parseHead(item.Entry.Value, c.MaxValue())
	if !ok {
		return false, nil
	}
	defer fault.Return(&err, fault.Catch())
	value, whole, err := c.gather(p, nil, true)
	if whole {
		item.Entry.Value = value
		item.Size = -item.Size
		for i := range p.count(c.pieceSize()) {
			item.Size += recordSize(0, pieceKey, min(c.pieceSize(), int(p.length)-i*c.pieceSize()))
		}
	}
	return whole, err
}
