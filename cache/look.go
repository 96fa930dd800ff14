package cache

import (
	"fmt"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kind is what registry.Names calls a cache.
const Kind = "cache"

// Read returns the counts and the curve of the cache in a region, for a process that has not opened it: dsm.Look has
// the bytes. It stores nothing and takes no lock. Version is that of the program, as registry.Info has it; alive
// reports whether a session lives. Counts of the last tenth of a second may not be in it. Bytes that are no cache are
// ErrCorrupt.
func Read(r shm.Region, version uint64, alive func(shmsync.Peer) bool) (s Stats, curve []Point, err error) {
	defer func() {
		if err != nil {
			s, curve, err = Stats{}, nil, fmt.Errorf("cache: read: %w", err)
		}
	}()
	defer fault.Return(&err, fault.Catch())
	self := shmsync.Self{Peer: shmsync.Peer{Row: shmsync.MaxRows - 1}, Alive: alive} // no session's; it locks nothing
	t, part, err := topOf(r, self, false)
	if err != nil {
		return s, nil, err
	}
	engine, err := logcache.Attach(part, self, logcache.Options{Version: version})
	if err != nil {
		return s, nil, err
	}
	defer engine.Close()
	c := &Cache{top: t, engine: engine, view: r.View()}
	s, err = c.stats()
	s.Limit = int64(engine.Limit() + c.bytesAboveEngine())
	return s, engine.Curve(), err
}

// lookAgain looks for a key that may have been loaded.
func (c *Cache) lookAgain(key, dst []byte) (value []byte, done bool, err error) {
	e, _, found, err := c.engine.Look(key, dst, false)
	switch {
	case err != nil:
		return dst, true, c.cacheError("load into", err)
	case !found || e.Stale(c.clock.now()):
		return dst, false, nil
	case e.Absent:
		return dst, true, c.absent()
	}
	return e.Value, true, nil
}
