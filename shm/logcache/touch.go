package logcache

import (
	"math/bits"
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/fault"
)

// A Set looks at lines of memory that lie far from each other: those of its key in the index, the sketch and the ghost, and
// the same of the entry that makes room for it. To touch them is to load one word of each, before the lock is taken and
// without any use of what is loaded: so that the processor waits for all of them at the same time, and not with the lock.

// touch touches what a Set of a key with that hash will look at. The oldest records come first, since where their entries'
// lines are is known only when they are there.
func (c *Cache) touch(h hash) {
	i := h.shard(c.nshards)
	evicts := lockless && c.shards[i].evicted.Load() > 0
	for l := range c.shards[i].logs {
		if x, off, ok := c.oldestOf(i, l); ok && evicts {
			wordAt(x, off).Load()
		}
	}
	c.touchLines(i, h)
	for l := range c.shards[i].logs {
		if x, off, ok := c.oldestOf(i, l); ok && evicts {
			if r, ok := parse(x, off, len(x)); ok {
				c.touchLines(i, hashOf(keyKind(r.kind), r.key, c.seed))
			}
		}
	}
}

// Together is how many keys Prefetch takes.
const Together = 8

// Prefetch has the processor fetch the memory that a Get of each of the keys, of the first Together ones, looks at: for all
// of them at the same time, where the Gets by themselves would wait one after the other. It finds nothing out and counts
// as no use.
func (c *Cache) Prefetch(keys [][]byte) {
	if !lockless || c.view.Ended() {
		return
	}
	defer fault.Ignore(fault.Catch())
	keys = keys[:min(len(keys), Together)]
	var hashes [Together]hash
	for i, key := range keys {
		hashes[i] = hashOf(kindValue, key, c.seed)
		if l := c.firstLine(hashes[i]); l != nil {
			l.slots[0].Load()
		}
	}
	for i := range keys {
		l := c.firstLine(hashes[i])
		if l == nil {
			continue
		}
		if k := bits.TrailingZeros64(l.match(hashes[i].tag() << 1)); k < slotsPerLine {
			w := slot(l.slots[k].Load())
			if e := w.extent(); e != 0 && int(e) <= c.extents() && w.offset()+nearBytes <= c.extent {
				wordAt(c.extentOf(e), w.offset()).Load()
				prefetch(c.extentOf(e), w.offset())
			}
		}
	}
}

// firstLine returns the first line of a key, nil if the index is garbled.
func (c *Cache) firstLine(h hash) *line {
	i := h.shard(c.nshards)
	return c.lineAt(i, c.number(h.base(c.nlines), h.tag(), c.shards[i].reach.Load()))
}

// oldestOf returns the extent and the place of the record that is, or was a moment ago, the oldest of a log. What is there
// may be another record, also one that is being written.
func (c *Cache) oldestOf(i, l int) (extent []byte, off int, ok bool) {
	lg := &c.shards[i].logs[l]
	e, at := lg.oldest.Load(), lg.cursor.Load()
	if e == 0 || int64(e) > int64(c.extents()) || int64(at)+recordHeader > int64(c.extent) || at&7 != 0 {
		return nil, 0, false
	}
	return c.extentOf(e), int(at), true
}

// touchLines touches the lines of a hash.
func (c *Cache) touchLines(i int, h hash) {
	reach := c.shards[i].reach.Load()
	for second := range 2 {
		if l := c.lineOf(i, h, second, reach); l != nil {
			l.slots[0].Load()
		}
	}
	p := h.forPolicy()
	atomic.LoadUint64(c.sketchOf(i).At(p))
	atomic.LoadUint32(c.ghostOf(i).At(p))
}
