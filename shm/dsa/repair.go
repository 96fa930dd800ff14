package dsa

import (
	"context"
	"errors"
	"math"

	"github.com/godsm/godsm/internal/failpoint"
)

// This file repairs an area whose lock a session died with, or in which something was found to be wrong. The heads of
// runs and the rows' words are taken as they are; all else is derived from them. So a repair needs no log, and it does
// not matter in the middle of which change the last holder was.

// repairLocked derives everything anew that is derived: rows on the way are freed; bitmaps, counts and lists follow
// from the spans' states. Then what dead sessions held goes back, and dirty becomes 0. The caller holds the area's
// lock.
//
// It changes nothing that it would not change again in the same way, and dirty is cleared last: so it may be cut short
// by a death or an error, and the next holder begins anew. The heads of the lists are cleared before the first span is
// linked, so no list leads through a span that has moved.
//
// In a segment that is garbled, or cannot be found, nothing can be derived. Its row says from then on that nothing in
// it is free, and the other segments go on.
func (a *Area) repairLocked(ctx context.Context) error {
	for i := range a.head.partial {
		a.head.partial[i].Store(0)
	}
	total := uint64(0)
	for i := range a.rows {
		switch state, _ := rowOf(a.rows[i].word.Load()); state {
		case rowLive:
			m, err := a.mapRow(ctx, i)
			if err == nil {
				err = a.rebuildLocked(m)
			}
			if segmentLost(err) {
				a.rows[i].free.Store(0)
				a.rows[i].longest.Store(0)
			} else if err != nil {
				return err
			}
			total += a.segmentSize(i)
		case rowComing, rowGoing:
			if err := a.returnSegmentLocked(ctx, i); err != nil {
				return err
			}
		}
		failpoint.Hit("dsa/repair/row")
	}
	a.head.total.Store(total)
	if _, err := a.recoverDeadLocked(ctx); err != nil {
		return err
	}
	failpoint.Hit("dsa/repair/done")
	a.head.dirty.Store(0)
	return nil
}

// rebuildLocked derives bitmap, counts and lists from the spans of a segment. The caller holds the area's lock. A run
// whose length or class is invalid is ErrCorrupt: where the next run begins is unknown then. The runs before it have
// been counted.
func (a *Area) rebuildLocked(m *mapping) error {
	m.clearBits()
	used := 0
	err := m.walkRuns(func(r spanRef, n int) error {
		m.setBits(r.chunk, n, true)
		used += n
		for k := 1; k < n; k++ {
			part := &m.spans[r.chunk+k]
			part.back.Store(uint32(k))
			part.state.Store(withKind(part.state.Load(), kindPart, 0))
		}
		if stateKind(r.s.state.Load()) == kindPartial {
			return a.linkSpanLocked(r)
		}
		return nil
	}, func(s *span) {
		s.state.Store(withKind(s.state.Load(), kindFree, 0))
	})
	row := &a.rows[m.row]
	row.chunks.Store(uint32(m.chunks))
	row.free.Store(uint32(m.chunks - used))
	row.longest.Store(uint32(m.chunks))
	row.low.Store(0)
	return err
}

// segmentLost reports whether err means that a segment is garbled, or gone: then that segment alone is lost. Other
// errors, such as ErrClosed, mean that this session can do nothing more.
func segmentLost(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound) }

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
