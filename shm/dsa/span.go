package dsa

import "github.com/godsm/godsm/internal/failpoint"

// spanRef is a span of this process's mappings.
type spanRef struct {
	m     *mapping
	chunk int
	s     *span
}

func (r spanRef) class() (*class, error) {
	if c := r.s.class.Load(); c < uint32(len(classes)) && classes[c].chunks <= r.m.chunks-r.chunk {
		return &classes[c], nil
	}
	return nil, r.misclassed()
}

func (r spanRef) misclassed() error {
	return corrupt("span %d of segment %d, which has %d chunks, is of class %d", r.chunk, r.m.row, r.m.chunks,
		r.s.class.Load())
}

// block returns a block's bytes. The span is of that class.
func (r spanRef) block(c *class, i int) []byte {
	off := r.start() + uint64(i)*c.size
	return r.m.bytes[off : off+c.size]
}

// run returns the first n bytes of the run's chunks.
func (r spanRef) run(n uint64) []byte { return r.m.bytes[r.start() : r.start()+n] }

// mark returns the note that names the span.
func (r spanRef) mark() uint64 { return uint64(r.m.tag|Pointer(r.start()>>4)) | intentSpan<<slackShift }

// start returns where in the segment its blocks begin.
func (r spanRef) start() uint64 { return r.m.data + uint64(r.chunk)<<chunkShift }

// ref returns the span in a list: row plus one above, chunk below; 0 is none.
func (r spanRef) ref() uint64 { return uint64(r.m.row+1)<<32 | uint64(r.chunk) }

func (s *span) allocated(i int) bool {
	p := &s.words[i>>6]
	return (p.used.Load()&^p.freed.Load())>>(i&63)&1 != 0
}

// empty says that no block is allocated.
func (s *span) empty(c *class) bool {
	for w := range c.words {
		if s.inWord(c, w) != 0 {
			return false
		}
	}
	return true
}

// inWord returns the allocated blocks of a word.
func (s *span) inWord(c *class, w int) uint64 {
	p := &s.words[w]
	return c.blocks(w, p.used.Load()&^p.freed.Load())
}

// harvest makes blocks that others have freed free for allocation, and reports whether any block is.
// Only for who has the span to itself: its session under a note, or who holds the area's lock. A death in between leaves a bit in freed that is not in
// used, which is no block, and is harvested again.
func (r spanRef) harvest(c *class) (room bool) {
	for w := range c.words {
		p := &r.s.words[w]
		if f := p.freed.Load(); f != 0 {
			for k := c.blocks(w, f); k != 0; k &= k - 1 { // who gets the block next must not seem to be freeing it
				*first(r.m.bytes, r.start()+uint64(w<<6|lowest(k))*c.size) = 0
			}
			failpoint.Hit("dsa/span/harvest")
			store(&p.used, p.used.Load()&^f)
			failpoint.Hit("dsa/span/harvested")
			p.freed.And(^f)
		}
		room = room || p.used.Load() != ^uint64(0)
	}
	return room
}

// waiting reports whether there is something to harvest.
func (s *span) waiting(c *class) bool {
	for w := range c.words {
		if s.words[w].freed.Load() != 0 {
			return true
		}
	}
	return false
}

// unused returns the blocks of a word that can be allocated without a harvest. One that is freed and not used is left over from
// a harvest that a death cut short: it needs another.
func (p *pair) unused() uint64 { return ^(p.used.Load() | p.freed.Load()) }

// hasRoom reports whether a block is free, or has been freed by others.
func (s *span) hasRoom(c *class) bool {
	for w := range c.words {
		if s.words[w].used.Load()&^s.words[w].freed.Load() != ^uint64(0) {
			return true
		}
	}
	return false
}

// clear makes all blocks free.
func (s *span) clear(c *class) {
	for w := range c.words {
		s.words[w].used.Store(0)
		s.words[w].freed.Store(0)
	}
	s.words[c.words-1].used.Store(c.last)
}
