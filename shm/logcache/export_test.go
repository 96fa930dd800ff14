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

// Number is a field of 32 bits, or half of one of 64, of a shard or an extent.
type Number struct {
	Name string
	// Set stores into all fields of that name.
	Set func(n uint32)
}

// Numbers are those that calls look for something by.
func Numbers(c *Cache) []Number {
	each := func(name string, field func(s *shard) *held32) Number {
		return Number{name, func(n uint32) {
			for i := range c.shards {
				field(&c.shards[i]).Store(n)
			}
		}}
	}
	ofLog := func(name string, field func(l *logWords) *held32) Number {
		return Number{name, func(n uint32) {
			for i := range c.shards {
				for k := range c.shards[i].logs {
					field(&c.shards[i].logs[k]).Store(n)
				}
			}
		}}
	}
	ofRow := func(name string, field func(r *row) *held32) Number {
		return Number{name, func(n uint32) {
			for i := range c.rows {
				field(&c.rows[i]).Store(n)
			}
		}}
	}
	return []Number{
		each("free", func(s *shard) *held32 { return &s.free }),
		each("index", func(s *shard) *held32 { return &s.index }),
		each("hint", func(s *shard) *held32 { return &s.hint }),
		each("away", func(s *shard) *held32 { return &s.away }),
		{"lines that were split", func(n uint32) {
			for i := range c.shards {
				c.shards[i].reach.Store(c.shards[i].reach.Load()>>32<<32 | uint64(n))
			}
		}},
		{"chunks", func(n uint32) {
			for i := range c.shards {
				for k := range c.shards[i].chunks {
					c.shards[i].chunks[k].Store(n)
				}
			}
		}},
		ofLog("oldest", func(l *logWords) *held32 { return &l.oldest }),
		ofLog("newest", func(l *logWords) *held32 { return &l.newest }),
		ofLog("cursor", func(l *logWords) *held32 { return &l.cursor }),
		ofLog("count", func(l *logWords) *held32 { return &l.count }),
		ofRow("state", func(r *row) *held32 { return &r.state }),
		ofRow("used", func(r *row) *held32 { return &r.used }),
		ofRow("next", func(r *row) *held32 { return &r.next }),
	}
}
