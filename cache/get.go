package cache

import (
	"time"

	"github.com/godsm/godsm/shm/logcache"
)

// Get appends the value of key to dst, and returns that: a copy. It takes no lock and waits for no one. A hit makes
// the entry stay longer.
func (c *Cache) Get(key, dst []byte) (value []byte, found bool, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return dst, false, err
	}
	c.record.add(key)
	value, found, err = c.engine.Get(key, dst)
	if err != nil {
		return dst, false, c.cacheError("get from", err)
	}
	c.count(key, found)
	return value, found, nil
}

// GetFunc calls f with the value of key, which is a copy that f has until it returns. It reports whether there is one.
func (c *Cache) GetFunc(key []byte, f func(value []byte)) (found bool, err error) {
	err = c.GetMany([][]byte{key}, func(_ int, value []byte) {
		found = true
		if f != nil {
			f(value)
		}
	})
	return found, err
}

// GetMany calls f for each of the keys that is found, in order, with its index and its value, which f has until it
// returns. It takes less time than as many Gets, since the processor fetches the memory for some keys at a time.
func (c *Cache) GetMany(keys [][]byte, f func(i int, value []byte)) error {
	if err := c.errIfNotReady(); err != nil || c.off {
		return err
	}
	kept, _ := c.buffers.Get().(*[]byte)
	if kept == nil {
		kept = new([]byte)
	}
	buf := *kept
	defer func() { *kept = buf; c.buffers.Put(kept) }()
	for i, key := range keys {
		if i%logcache.Together == 0 && i+1 < len(keys) {
			c.engine.Prefetch(keys[i:])
		}
		value, found, err := c.Get(key, buf[:0])
		if err != nil {
			return err
		}
		if cap(value) > cap(buf) && cap(value) <= mostKept {
			buf = value
		}
		if found && f != nil {
			f(i, value)
		}
	}
	return nil
}

const mostKept = 1 << 20 // bytes of a buffer that is used again

// Peek is Get that counts for nothing: not for what stays, nor for Stats.
func (c *Cache) Peek(key, dst []byte) (value []byte, found bool, err error) {
	e, found, err := c.findQuietly(key, dst)
	if !found {
		return dst, false, err
	}
	return e.Value, true, nil
}

// Has reports whether Get would find the key. It counts for nothing, as Peek does.
func (c *Cache) Has(key []byte) (bool, error) {
	_, found, err := c.Info(key)
	return found, err
}

// Info is what the cache knows of an entry beside its value.
type Info struct {
	TTL   time.Duration // how long it lives still, Forever: without an end
	Idle  time.Duration // how long it lives without a use; 0: that does not matter
	Stale time.Duration // how long beyond its TTL Load may return it
}

// Info returns what is known of a key that Get would find. It counts for nothing, as Peek does.
func (c *Cache) Info(key []byte) (i Info, found bool, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return i, false, err
	}
	e, found, err := c.engine.Peek(key, nil)
	if err != nil || !found || e.Absent || e.Stale(c.clock.now()) {
		return i, false, c.cacheError("peek at", err)
	}
	return c.info(&e), true, nil
}

func (c *Cache) info(e *logcache.Entry) Info {
	i := Info{TTL: Forever, Idle: time.Duration(e.Idle) * tick}
	switch {
	case e.Idle == 0 && e.Fresh != 0:
		i.TTL = c.clock.until(e.Fresh)
		if e.Expires != 0 {
			i.Stale = time.Duration(e.Expires-e.Fresh) * tick
		}
	case e.Expires != 0:
		i.TTL = c.clock.until(e.Expires)
	}
	return i
}

// findQuietly finds what Get would find.
func (c *Cache) findQuietly(key, dst []byte) (e logcache.Entry, found bool, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return e, false, err
	}
	e, _, found, err = c.engine.Look(key, dst, true)
	return e, found && !e.Absent && !e.Stale(c.clock.now()), c.cacheError("peek at", err)
}
