package eviction_test

import (
	"container/heap"
	"container/list"
)

// lru is what everything is compared with.
type lru struct {
	limit, bytes int64
	list         list.List
	index        map[uint64]*list.Element
}

type lruEntry struct {
	hash uint64
	size int64
}

func newLRU(limit int64) *lru { return &lru{limit: limit, index: map[uint64]*list.Element{}} }

func (c *lru) access(hash uint64, size int) bool {
	if e, ok := c.index[hash]; ok {
		c.list.MoveToFront(e)
		return true
	}
	if int64(size) > c.limit {
		return false
	}
	for c.bytes+int64(size) > c.limit {
		last := c.list.Remove(c.list.Back()).(lruEntry)
		delete(c.index, last.hash)
		c.bytes -= last.size
	}
	c.index[hash] = c.list.PushFront(lruEntry{hash, int64(size)})
	c.bytes += int64(size)
	return false
}

// gdsf is GreedyDual-Size-Frequency, the best policy known for hits of objects of several sizes. It needs a heap.
type gdsf struct {
	limit, bytes int64
	age          float64
	heap         gdsfHeap
	index        map[uint64]*gdsfEntry
}

type gdsfEntry struct {
	hash     uint64
	size     int
	times    int
	priority float64
	at       int
}

func newGDSF(limit int64) *gdsf { return &gdsf{limit: limit, index: map[uint64]*gdsfEntry{}} }

func (c *gdsf) access(hash uint64, size int) bool {
	e, hit := c.index[hash]
	if !hit {
		if int64(size) > c.limit {
			return false
		}
		e = &gdsfEntry{hash: hash, size: size}
	}
	e.times++
	e.priority = c.age + float64(e.times)/float64(e.size)
	if hit {
		heap.Fix(&c.heap, e.at)
		return true
	}
	for c.bytes+int64(size) > c.limit {
		v := heap.Pop(&c.heap).(*gdsfEntry)
		delete(c.index, v.hash)
		c.bytes -= int64(v.size)
		c.age = v.priority
	}
	heap.Push(&c.heap, e)
	c.index[hash] = e
	c.bytes += int64(size)
	return false
}

type gdsfHeap []*gdsfEntry

func (h gdsfHeap) Len() int           { return len(h) }
func (h gdsfHeap) Less(i, j int) bool { return h[i].priority < h[j].priority }
func (h gdsfHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *gdsfHeap) Push(x any)        { e := x.(*gdsfEntry); e.at = len(*h); *h = append(*h, e) }
func (h *gdsfHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
