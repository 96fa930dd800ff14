package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// This file holds what a process asks of a span and does in its bitmap. Nothing here takes a lock; each function says
// what its caller has to hold, and those that only read say what their answer is worth.

// spanRef is a span, or a large object, in this process's mappings. It is valid until the segment is unmapped, which
// happens under all stripes. So it is used under the stripe under which it was found or, by Bytes, in a scope in which
// a fault is an error.
type spanRef struct {
	m *mapping
	// chunk is where the run begins, and s the description of that chunk.
	chunk int
	s     *span
}

// class returns the class of the span's blocks. It needs no lock. The number comes from shared memory: one beyond the
// table of classes is ErrCorrupt, and so is a class whose spans would reach over the segment's end. So block may be
// called for each block of the class that is returned.
func (r spanRef) class() (*class, error) {
	if c := uint(r.s.class.Load()); c < uint(len(classes)) && classes[c].chunks <= r.m.chunks-r.chunk {
		return &classes[c], nil
	}
	return nil, r.errClass()
}

// errClass returns the error of class. It is a function of its own so that class can be inlined.
func (r spanRef) errClass() error {
	return corrupt("span %d of segment %d, which has %d chunks, is of class %d", r.chunk, r.m.row, r.m.chunks,
		r.s.class.Load())
}

// block returns the bytes of block i. The span is of class c, as the method class has returned it, and i is below
// c.objects: then the bytes are inside the segment.
func (r spanRef) block(c *class, i int) []byte {
	off := r.start() + uint64(i)*c.size
	return r.m.bytes[off : off+c.size]
}

// run returns the first n bytes of the run's chunks. The caller has checked that the run has so many in this segment.
func (r spanRef) run(n uint64) []byte { return r.m.bytes[r.start() : r.start()+n] }

// intent returns the intent that names the span: its first byte's pointer, with intentSpan.
func (r spanRef) intent() uint64 {
	return uint64(r.m.tag|Pointer(r.start()>>4)) | intentSpan<<slackShift
}

// start returns where in the segment the run's first byte is.
func (r spanRef) start() uint64 { return r.m.data + uint64(r.chunk)<<chunkShift }

// ref returns how the lists name the span: its segment's row plus one in the upper half, its chunk in the lower; 0 is
// none.
func (r spanRef) ref() uint64 { return uint64(r.m.row+1)<<32 | uint64(r.chunk) }

// allocated returns the blocks that are used and not freed, a bit for each. It needs no lock. Freed is loaded first,
// since a harvest clears used first: so a block that is harvested in between is seen as free all the time. In the other
// order it would look as if it were allocated again, and a pointer that its program has kept too long would lead to it.
func (p *pair) allocated() uint64 {
	freed := p.freed.Load()
	return p.used.Load() &^ freed
}

// allocated reports whether block i is used and not freed. It needs no lock. For a pointer that is valid the answer is
// exact; a block that gets its next object while it is looked at may be seen before or after that.
func (s *span) allocated(i int) bool { return s.words[i>>6].allocated()>>(i&63)&1 != 0 }

// empty reports whether no block is allocated. Without a lock the answer is a hint. It stays true as long as no session
// allocates from the span: that is, for a caller that has the stripe and owns it, or has the area's lock and finds it
// partial, or contested with no session at work.
func (s *span) empty(c *class) bool {
	for w := range c.words {
		if s.allocatedInWord(c, w) != 0 {
			return false
		}
	}
	return true
}

// allocatedInWord returns the allocated blocks of word w, a bit for each. Bits that stand for no block are 0.
func (s *span) allocatedInWord(c *class, w int) uint64 {
	return c.blocks(w, s.words[w].allocated())
}

// harvest makes blocks that other sessions have freed free for allocation, and reports whether any block is free then.
// It is for the one process that may write used. That is the span's session, under its stripe and either a note that
// names the span or the area's lock; or the holder of the area's lock, for a span that belongs to no session and in
// which none is at work. A session that comes to have a span harvests it before it allocates from it.
//
// Three stores are made for each word, and their order matters:
//
//  1. The stamp of each freed block is removed. A session that freed it may have died before it struck its note;
//     recovery finds the stamp gone, and leaves the block to its next object. If the block were allocated first, its
//     old stamp could make recovery free the new object.
//  2. The bits of used are cleared. They are still set in freed, so the blocks cannot be allocated yet.
//  3. The same bits of freed are cleared, by an atomic operation, since other sessions may set further ones.
//
// A process that dies between 2 and 3 leaves bits that are in freed and not in used. They mean no block: such a block
// is neither allocated, nor allocated from in a shared span (see unused), and the next harvest clears them.
func (r spanRef) harvest(c *class) (room bool) {
	for w := range c.words {
		p := &r.s.words[w]
		if f := p.freed.Load(); f != 0 {
			for k := c.blocks(w, f); k != 0; k &= k - 1 { // a session that gets the block must not seem to be freeing it
				*wordAt(r.m.bytes, r.start()+uint64(w<<6|lowest(k))*c.size) = 0
			}
			failpoint.Hit("dsa/span/harvest")
			storeOrdered(&p.used, p.used.Load()&^f)
			failpoint.Hit("dsa/span/harvested")
			p.freed.And(^f)
		}
		room = room || p.used.Load() != ^uint64(0)
	}
	return room
}

// hasHarvest reports whether there is something to harvest. It needs no lock; false may be stale when it is returned.
func (s *span) hasHarvest(c *class) bool {
	for w := range c.words {
		if s.words[w].freed.Load() != 0 {
			return true
		}
	}
	return false
}

// unused returns the blocks of a word that can be allocated without a harvest. A block that is freed and not used is
// left over from a harvest that a death has cut short: it has to be harvested again first, or its bit in freed would
// hide the new object.
func (p *pair) unused() uint64 { return ^(p.used.Load() | p.freed.Load()) }

// hasRoom reports whether a block is free, or was freed by other sessions and would be after a harvest. Without a lock
// it is a hint.
func (s *span) hasRoom(c *class) bool {
	for w := range c.words {
		if s.words[w].allocated() != ^uint64(0) {
			return true
		}
	}
	return false
}

// clear makes all blocks of a new span free, and sets those bits of the last word that stand for none. The caller holds
// the area's lock; the state still says that the chunks are free.
func (s *span) clear(c *class) {
	for w := range c.words {
		s.words[w].used.Store(0)
		s.words[w].freed.Store(0)
	}
	s.words[c.words-1].used.Store(c.last)
}

// makeSpanLocked takes the chunks of a new span, and prepares its description; ok is false if no segment has the
// chunks. The state is still that of a free chunk: the caller stores another, which makes it a span. Until then a death
// leaves nothing but the lock. The caller holds the area's lock.
func (a *Area) makeSpanLocked(ctx context.Context, cl *class) (r spanRef, ok bool, err error) {
	if r, ok, err = a.makeRunLocked(ctx, cl.chunks); !ok || err != nil {
		return r, false, err
	}
	r.s.class.Store(uint32(cl.id))
	r.s.clear(cl)
	failpoint.Hit("dsa/span/cleared")
	return r, true, nil
}
