package dsa

import (
	"context"
	"math"
	"math/bits"

	"github.com/godsm/godsm/internal/failpoint"
)

// What is here runs under the area's lock, and changes which chunks are in use and which spans are in a list. The heads
// of runs are the truth: a run exists if the span of its first chunk has a state that says so, and that span has the
// run's length. Bitmap, counts and lists follow from the heads. So a process that dies in any of these functions leaves
// derived values that are wrong, and the lock as a dead holder leaves it; the session that takes the lock next derives
// them anew.

// findRun finds n free chunks in a row, and returns the first; low is a chunk before which none is free. It trusts the
// bitmap for speed, and returns no place outside the segment, whatever the bitmap says. The caller holds the area's
// lock.
func (m *mapping) findRun(low uint32, n int) (at int, ok bool) {
	run := 0
	for i := int(min(low, uint32(m.chunks))); i < m.chunks; {
		w := m.bits[i>>6].Load() >> (i & 63)
		left := 64 - i&63
		if z := min(bits.TrailingZeros64(w), left); z > 0 {
			run += z
			i += z
			if run >= n {
				// The bits beyond the last chunk are 1. If a stray store has cleared them, the run may reach beyond it.
				return i - run, i-run+n <= m.chunks
			}
			continue
		}
		run = 0
		i += min(bits.TrailingZeros64(^w), left)
	}
	return 0, false
}

// setBits marks n chunks as used, or as free. The caller holds the area's lock, so a load and a store do.
func (m *mapping) setBits(at, n int, used bool) {
	for i := at; i < at+n; {
		k := min(64-i&63, at+n-i)
		mask := ^uint64(0) >> (64 - k) << (i & 63)
		if w := &m.bits[i>>6]; used {
			w.Store(w.Load() | mask)
		} else {
			w.Store(w.Load() &^ mask)
		}
		i += k
	}
}

// runOf follows p from its chunk to the head of its run, and returns that, the class (nil for a large object), and where
// in the run p is. The way back to the head is a number in shared memory: one that leads before the segment's first
// chunk, or nowhere, is ErrCorrupt. If the head has no run by now, p is ErrPointer. It takes no lock. That the run
// reaches as far as p's chunk is not checked here: the caller refuses a distance at which no block begins, or which is
// not 0 for a large object.
func (m *mapping) runOf(p Pointer, at int) (r spanRef, rel uint64, cl *class, err error) {
	chunk := at
	s := &m.spans[chunk]
	state := s.state.Load()
	if stateKind(state) == kindPart {
		back := int(s.back.Load())
		if back < 1 || back > chunk {
			return r, 0, nil, corrupt("chunk %d of segment %d is %d behind its head", chunk, m.row, back)
		}
		chunk -= back
		s = &m.spans[chunk]
		state = s.state.Load()
	}
	rel = p.offset() - m.data - uint64(chunk)<<chunkShift
	r = spanRef{m, chunk, s}
	switch stateKind(state) {
	case kindOwned, kindFull, kindPartial, kindContested:
		cl, err = r.class()
		return r, rel, cl, err
	case kindLarge:
		return r, rel, nil, nil
	}
	return r, 0, nil, notAllocated(p)
}

// checkRun checks what the span at chunk c says of its run, of n chunks. It refuses, with ErrCorrupt, a length of 0 or
// one that reaches over the segment's end; a large object whose size does not need so many chunks, or more; and a class
// that does not exist or whose spans have another length.
func (m *mapping) checkRun(c int, s *span, n int) error {
	if n < 1 || n > m.chunks-c {
		return corrupt("the run at chunk %d of segment %d has %d chunks of %d", c, m.row, n, m.chunks)
	}
	if stateKind(s.state.Load()) == kindLarge {
		if size := s.size.Load(); size > uint64(n)<<chunkShift || size+8 <= uint64(n-1)<<chunkShift || size > math.MaxInt {
			return corrupt("the object at chunk %d of segment %d has %d bytes in %d chunks", c, m.row, size, n)
		}
		return nil
	}
	if id := s.class.Load(); id >= uint32(len(classes)) || classes[id].chunks != n {
		return corrupt("the span at chunk %d of segment %d is of class %d and has %d chunks", c, m.row, id, n)
	}
	return nil
}

// walkRuns calls run for each run of a segment, with its length in chunks, and loose for each chunk that is in none. It
// checks the length before run sees it: so run may use all chunks of the run, and walkRuns ends. A run that is garbled
// is ErrCorrupt, and ends it. The caller holds the area's lock, since otherwise runs come and go.
func (m *mapping) walkRuns(run func(r spanRef, n int) error, loose func(s *span)) error {
	for c := 0; c < m.chunks; {
		s := &m.spans[c]
		switch stateKind(s.state.Load()) {
		case kindOwned, kindFull, kindPartial, kindContested, kindLarge:
			n := int(s.chunks.Load())
			if err := m.checkRun(c, s, n); err != nil {
				return err
			}
			if err := run(spanRef{m, c, s}, n); err != nil {
				return err
			}
			c += n
		default:
			loose(s)
			c++
		}
	}
	return nil
}

// makeRunLocked takes n chunks from the first segment that has them; ok is false if none has. Its head is still free:
// the caller fills it in, and stores its state last. Until then a death leaves no run, and the chunks are free once the
// bitmap has been made anew. It may map a segment, which the source may refuse. The caller holds the area's lock.
//
// A row's count of free chunks and its longest run are hints at where a search is worth while: a longest that was found
// to be too large is lowered here. A segment that cannot be mapped because it is garbled or gone is passed over from
// then on, until the next repair.
func (a *Area) makeRunLocked(ctx context.Context, n int) (r spanRef, ok bool, err error) {
	for i := range a.rows {
		row := &a.rows[i]
		if state, _ := rowOf(row.word.Load()); state != rowLive || int(row.free.Load()) < n ||
			int(row.longest.Load()) < n {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if segmentLost(err) {
			row.longest.Store(0)
			continue
		}
		if err != nil {
			return r, false, err
		}
		at, ok := m.findRun(row.low.Load(), n)
		if !ok {
			row.longest.Store(uint32(n - 1))
			continue
		}
		// The bitmap is derived, and can have been hit by a stray store. The states are asked before anything is
		// changed: a run that is in use is never given a second time.
		for k := range n {
			if state := m.spans[at+k].state.Load(); stateKind(state) != kindFree {
				return r, false, corrupt("chunk %d of segment %d is in use, and its bitmap says that it is free", at+k, i)
			}
		}
		m.setBits(at, n, true)
		row.free.Add(^uint32(n - 1))
		if n == 1 {
			row.low.Store(uint32(at + 1))
		}
		failpoint.Hit("dsa/run/taken")
		// The parts come before the head: a process that follows a pointer into the run finds its head from the moment
		// that the head's state says that there is one.
		for k := 1; k < n; k++ {
			part := &m.spans[at+k]
			part.back.Store(uint32(k))
			part.state.Store(withKind(part.state.Load(), kindPart, 0))
		}
		failpoint.Hit("dsa/run/parts")
		s := &m.spans[at]
		s.chunks.Store(uint32(n))
		return spanRef{m, at, s}, true, nil
	}
	return r, false, nil
}

// releaseRunLocked gives a run's chunks back. If the segment is empty then, and the area has more empty bytes than it
// is to keep, the segment goes back too. ErrCorrupt means that the run's length or class is invalid, and nothing was
// changed. The caller holds the area's lock, and has unlinked the span.
//
// The head's state is stored first, since it decides. A process that dies after it leaves chunks that say that they are
// inside a run which does not exist; the repair that follows makes them free.
func (a *Area) releaseRunLocked(ctx context.Context, r spanRef) error {
	n := int(r.s.chunks.Load())
	if err := r.m.checkRun(r.chunk, r.s, n); err != nil {
		return err
	}
	r.s.state.Store(withKind(r.s.state.Load(), kindFree, 0) + lifeUnit)
	failpoint.Hit("dsa/run/released")
	for k := 1; k < n; k++ {
		part := &r.m.spans[r.chunk+k]
		part.state.Store(withKind(part.state.Load(), kindFree, 0))
	}
	failpoint.Hit("dsa/run/scattered")
	r.m.setBits(r.chunk, n, false)
	row := &a.rows[r.m.row]
	row.free.Add(uint32(n))
	row.longest.Store(uint32(r.m.chunks))
	row.low.Store(min(row.low.Load(), uint32(r.chunk)))
	if r.m.row == 0 || int(row.free.Load()) < r.m.chunks || a.emptySegmentBytesLocked() <= a.head.keep.Load() {
		return nil
	}
	_ = a.returnSegmentLocked(ctx, r.m.row) // if its source fails, Verify tries again and reports it
	return nil
}

// eachRunLocked calls run for each run of all segments, and maps them for that. In a segment that is garbled it stops
// where that is found, and goes on with the next one; an error of run that is not lost ends it. The caller holds the
// area's lock.
func (a *Area) eachRunLocked(ctx context.Context, run func(r spanRef, n int) error) error {
	for i := range a.rows {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowLive {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if err == nil {
			err = m.walkRuns(run, func(*span) {})
		}
		if err != nil && !segmentLost(err) {
			return err
		}
	}
	return nil
}

// wholeRuns returns the chunks of the largest spans that fit into so many, or of runs as long as is needed, if those
// are longer. So objects of one size leave none over, however large they are. If not even one fits, it returns what it
// was given.
func wholeRuns(chunks, need int) int {
	if unit := max(classes[len(classes)-1].chunks, need); chunks > unit {
		return chunks / unit * unit
	}
	return chunks
}
