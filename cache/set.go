package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/logcache"
)

// Set makes value the key's: all processes see it when Set returns. Room for it is made by dropping other entries,
// with bounded work. It waits for the lock of a part of the cache until ctx is over. At most one With is given.
func (c *Cache) Set(ctx context.Context, key, value []byte, with ...With) error {
	_, err := c.put(ctx, "store in", key, value, with, logcache.Condition{})
	return err
}

// Item is a key with its value.
type Item struct {
	Key, Value []byte
	Info       Info // of what All yields
}

// SetMany is Set for each of the items, in order. It ends at the first error.
func (c *Cache) SetMany(ctx context.Context, items []Item, with ...With) error {
	for _, i := range items {
		if err := c.Set(ctx, i.Key, i.Value, with...); err != nil {
			return err
		}
	}
	return c.errIfNotReady()
}

// Add sets the key, as Set does, if Get would not find it, and reports whether it has. It is no lock: an entry can be
// evicted.
func (c *Cache) Add(ctx context.Context, key, value []byte, with ...With) (done bool, err error) {
	return c.put(ctx, "add to", key, value, with, logcache.IfAbsent)
}

// Replace sets the key, as Set does, if Get would find it, and reports whether it has.
func (c *Cache) Replace(ctx context.Context, key, value []byte, with ...With) (done bool, err error) {
	return c.put(ctx, "replace in", key, value, with, logcache.IfPresent)
}

// CompareAndSet sets the key, as Set does, if its value is old, and reports whether it has.
func (c *Cache) CompareAndSet(ctx context.Context, key, old, value []byte, with ...With) (done bool, err error) {
	e, err := c.entry(value, with)
	if err != nil {
		return false, err
	}
	err = c.change(ctx, "compare and set in", key, func(is *logcache.Entry) (*logcache.Entry, error) {
		if is == nil || !bytes.Equal(is.Value, old) {
			done = false
			return nil, nil
		}
		done = true
		return &e, nil
	})
	return done && err == nil, err
}

// Incr adds delta to the number that is the key's value, in 8 bytes, little-endian, and returns the sum. A key that is
// not found begins at 0, with the lifetime of With or Options, which later calls leave as it is. It is no account: an
// entry can be evicted. A value of another length is ErrMismatch.
func (c *Cache) Incr(ctx context.Context, key []byte, delta int64, with ...With) (sum int64, err error) {
	first, err := c.entry(nil, with)
	if err != nil {
		return 0, err
	}
	sum = delta
	err = c.change(ctx, "increment in", key, func(is *logcache.Entry) (*logcache.Entry, error) {
		e := first
		if sum = delta; is != nil {
			if len(is.Value) != 8 {
				return nil, errkind.As(ErrMismatch, fmt.Errorf("the value has %d bytes, and a number has 8", len(is.Value)))
			}
			e, sum = *is, delta+int64(binary.LittleEndian.Uint64(is.Value))
		}
		e.Value = binary.LittleEndian.AppendUint64(nil, uint64(sum))
		return &e, nil
	})
	if err != nil {
		return 0, err
	}
	return sum, nil
}

// Touch begins the lifetime of an entry anew, by With or Options. It reports whether there is one.
func (c *Cache) Touch(ctx context.Context, key []byte, with ...With) (found bool, err error) {
	fresh, err := c.entry(nil, with)
	if err != nil {
		return false, err
	}
	tagged := len(with) > 0 && len(with[0].Tags) > 0
	err = c.change(ctx, "touch in", key, func(is *logcache.Entry) (*logcache.Entry, error) {
		if found = is != nil; !found {
			return nil, nil
		}
		e := fresh
		if e.Value = is.Value; !tagged {
			e.Tags = is.Tags
		}
		return &e, nil
	})
	return found && err == nil, err
}

// change sets what f makes of a key's entry, nil if Get would not find it; f may return nil. It tries again if others
// were faster: each time one of them has got on.
func (c *Cache) change(ctx context.Context, what string, key []byte, f func(*logcache.Entry) (*logcache.Entry, error)) error {
	if err := c.errIfNotReady(); err != nil {
		return err
	}
	for {
		var is *logcache.Entry
		when := logcache.IfAbsent
		if !c.off {
			e, stamp, found, err := c.engine.Look(key, nil, true)
			if err != nil {
				return c.cacheError(what, err)
			}
			if found && !e.Absent && !e.Stale(c.clock.now()) {
				is, when = &e, logcache.If(stamp)
			}
		}
		to, err := f(is)
		if err != nil || to == nil || c.off {
			return c.cacheError(what, err)
		}
		if done, err := c.store(ctx, key, *to, when); err != nil || done {
			return c.cacheError(what, err)
		}
		if ctx.Err() != nil {
			return c.cacheError(what, context.Cause(ctx))
		}
	}
}

// put sets a value, if the condition holds.
func (c *Cache) put(ctx context.Context, what string, key, value []byte, with []With, when logcache.Condition) (done bool, err error) {
	e, err := c.entry(value, with)
	if err != nil || c.off {
		return err == nil && when != logcache.IfPresent, err
	}
	done, err = c.store(ctx, key, e, when)
	return done, c.cacheError(what, err)
}

func (c *Cache) store(ctx context.Context, key []byte, e logcache.Entry, when logcache.Condition) (done bool, err error) {
	if n := c.options.MaxValue; n > 0 && len(e.Value) > n {
		err = errkind.As(ErrSize, fmt.Errorf("a value of %d bytes: Options.MaxValue is %d", len(e.Value), n))
	} else {
		done, err = c.engine.Put(ctx, key, e, when)
	}
	switch {
	case errors.Is(err, ErrSize):
		c.add(key, tooLarge, 1)
	case done:
		c.add(key, sets, 1)
	}
	return done, err
}

func firstNonZero(one, other time.Duration) time.Duration {
	if one != 0 {
		return one
	}
	return other
}

// Purge deletes all entries, one part of the cache after the other. What is set meanwhile may stay or go; what is
// being loaded is not stored.
func (c *Cache) Purge(ctx context.Context) error {
	if err := c.errIfNotReady(); err != nil || c.off {
		return err
	}
	return c.cacheError("purge", c.engine.Purge(ctx))
}
