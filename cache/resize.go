package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/pages"
	"github.com/godsm/godsm/shm/logcache"
)

// Limit returns how many bytes the cache may use now; 0 if it is off or closed.
func (c *Cache) Limit() int64 {
	if c.errIfNotReady() != nil || c.off {
		return 0
	}
	n := c.engine.Limit()
	if n == 0 {
		return 0
	}
	return int64(n + c.bytesAboveEngine())
}

// bytesAboveEngine returns how many bytes are before the engine's.
func (c *Cache) bytesAboveEngine() int {
	_, at := rowsOf(c.top.size)
	return at
}

// Resize makes limit what the cache may use, in bytes. The limit is at most the Options.Max of the session that made the
// cache, and at least about two fifths of that for a small cache, a smaller part of it for a large one. Any other
// limit is ErrSize, and the error names the range. Other calls go on while it runs. To make the cache smaller entries
// are dropped, as a Set would, and their memory goes back to the system, on Linux; elsewhere it stays and is not used.
// The index does not shrink, so a cache that was larger has some percent fewer entries than one that never was. What
// is done when ctx is over stays, and a later call goes on.
func (c *Cache) Resize(ctx context.Context, limit int64) error {
	if err := c.errIfNotReady(); err != nil {
		return err
	}
	if c.off {
		return c.cacheError("resize", errkind.As(ErrSize, errors.New("the cache is off, since Open was called with Limit 0: open it with a limit")))
	}
	return c.cacheError("resize", c.resize(ctx, limit))
}

func (c *Cache) resize(ctx context.Context, limit int64) error {
	most := c.top.size
	least := c.engine.Least() + c.bytesAboveEngine()
	if limit < int64(least) || limit > int64(most) {
		return errkind.As(ErrSize, fmt.Errorf("a limit of %d bytes: this cache can have from %d to %d "+
			"(Options.Max of the session that made it)", limit, least, most))
	}
	room := logcache.Room{Release: pages.GiveBack, Reserve: pages.TakeBack}
	if c.private {
		room = logcache.Room{}
	}
	return c.engine.Resize(ctx, int(limit)-c.bytesAboveEngine(), room)
}

// Report is what Verify has found.
type Report = logcache.Report

// Point says what part of the lookups a cache of so many times the size would hit.
type Point = logcache.Point

// Curve returns what caches of half, one, two and four times the size would hit, as models say that see a sample of
// the keys. It is empty while too little is known, if the cache is too small for models, and for one that favours
// objects.
func (c *Cache) Curve() []Point {
	if c.errIfNotReady() != nil || c.off {
		return nil
	}
	return c.engine.Curve()
}
