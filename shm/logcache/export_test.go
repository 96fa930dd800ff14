package logcache

import (
	"context"
	"sync/atomic"
	"unsafe"

	"github.com/godsm/godsm/shm"
)

// BytesOf is the memory of words.
func BytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
}

// WordsOf is a region as words.
func WordsOf(r shm.Region) []atomic.Uint64 {
	words, err := shm.SliceOf[atomic.Uint64](r, 0, r.Len()/8)
	if err != nil {
		panic(err)
	}
	return words
}

// Lockless is whether Get goes without the lock in this build.
const Lockless = lockless

// HoldLock takes a shard's lock.
func HoldLock(c *Cache, i int) (release func(), err error) {
	t, err := c.lock(context.Background(), i)
	if err != nil {
		return nil, err
	}
	return func() { t.done = true; t.unlock() }, nil
}

// ShardOf is the number of a key's shard.
func ShardOf(c *Cache, key []byte) int { return hashOf(kindValue, key, c.seed).shard(c.nshards) }

// InLock reports whether an offset in the region is in the lock of a shard.
func InLock(c *Cache, at int) bool {
	at -= shardsAt
	within := at%shardSize - 64
	return at >= 0 && at < c.nshards*shardSize && within >= 0 && within < 256
}

// Dirty makes the next holder of each shard's lock repair it.
func Dirty(c *Cache) {
	for i := range c.shards {
		c.shards[i].dirty.Store(1)
	}
}

// Parts are where the parts of the region begin: header, shards, lives, rows, lines, sketch, log.
func Parts(c *Cache) []int {
	return []int{0, shardsAt, c.livesAt, c.rowsAt, c.linesAt, c.sketAt, c.logAt, c.limit}
}

// Extent is the size of an extent.
func Extent(c *Cache) int { return c.extent }
