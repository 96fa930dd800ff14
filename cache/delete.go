package cache

import "context"

// Delete takes the key's entry out: no process finds it when Delete returns. It reports whether there was one. If it
// returns an error the old value may still be served.
func (c *Cache) Delete(ctx context.Context, key []byte) (found bool, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return false, err
	}
	found, err = c.engine.Delete(ctx, key)
	if err == nil {
		c.add(key, deletes, 1)
	}
	return found, c.cacheError("delete from", err)
}

// DeleteMany is Delete for each of the keys. It returns how many there were, and ends at the first error.
func (c *Cache) DeleteMany(ctx context.Context, keys [][]byte) (n int, err error) {
	for _, key := range keys {
		found, err := c.Delete(ctx, key)
		if err != nil {
			return n, err
		}
		if found {
			n++
		}
	}
	return n, c.errIfNotReady()
}

// DeleteTag deletes all entries that bear the tag, by one store: it waits for no lock, and works beside a process that
// is stopped. A large number of tags share places, some thousands: an entry may go with a tag that it does not bear,
// and is never kept with one that it does.
func (c *Cache) DeleteTag(tag string) error {
	if err := c.errIfNotReady(); err != nil || c.off {
		return err
	}
	return c.cacheError("delete a tag from", c.engine.DeleteTag([]byte(tag)))
}
