package dsa

import (
	"context"
	"errors"
	"math"

	"github.com/godsm/godsm/internal/failpoint"
)

// repairLocked makes everything that is derived anew, under the lock that a session died with, or under which something was
// found to be wrong: rows on the way are freed; bitmaps, counts and lists follow from the spans' states. Then what dead
// sessions held goes back. It changes nothing that it would not change again, so it may itself be cut short. A segment in
// which that can't be done gives nothing any more.
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
			if lost(err) {
				a.rows[i].free.Store(0)
				a.rows[i].longest.Store(0)
			} else if err != nil {
				return err
			}
			total += a.sizeOf(i)
		case rowComing, rowGoing:
			if err := a.giveSegmentLocked(ctx, i); err != nil {
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

// rebuildLocked derives bitmap, counts and lists from the spans of a segment. The caller holds the area's lock.
func (a *Area) rebuildLocked(m *mapping) error {
	m.clearBits()
	used := 0
	err := m.walk(func(r spanRef, n int) error {
		m.setBits(r.chunk, n, true)
		used += n
		for k := 1; k < n; k++ {
			part := &m.spans[r.chunk+k]
			part.back.Store(uint32(k))
			part.state.Store(moved(part.state.Load(), kindPart, 0))
		}
		if kindOf(r.s.state.Load()) == kindPartial {
			return a.linkLocked(r)
		}
		return nil
	}, func(s *span) {
		s.state.Store(moved(s.state.Load(), kindFree, 0))
	})
	row := &a.rows[m.row]
	row.chunks.Store(uint32(m.chunks))
	row.free.Store(uint32(m.chunks - used))
	row.longest.Store(uint32(m.chunks))
	row.low.Store(0)
	return err
}

// lost reports whether err says that a segment is garbled, or gone: that segment alone is lost.
func lost(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound) }

// walk calls run for each run of a segment and loose for each chunk in none.
func (m *mapping) walk(run func(r spanRef, n int) error, loose func(s *span)) error {
	for c := 0; c < m.chunks; {
		s := &m.spans[c]
		switch kindOf(s.state.Load()) {
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

func (m *mapping) checkRun(c int, s *span, n int) error {
	if n < 1 || n > m.chunks-c {
		return corrupt("the run at chunk %d of segment %d has %d chunks of %d", c, m.row, n, m.chunks)
	}
	if kindOf(s.state.Load()) == kindLarge {
		if size := s.size.Load(); size > uint64(n)<<chunkShift || size+8 <= uint64(n-1)<<chunkShift || size > math.MaxInt {
			return corrupt("the object at chunk %d of segment %d has %d bytes in %d chunks", c, m.row, size, n)
		}
		return nil
	}
	if id := int(s.class.Load()); id >= len(classes) || classes[id].chunks != n {
		return corrupt("the span at chunk %d of segment %d is of class %d and has %d chunks", c, m.row, id, n)
	}
	return nil
}

// eachRunLocked is walk over all segments, which it maps. It leaves out those that are garbled, from there on.
// The caller holds the area's lock.
func (a *Area) eachRunLocked(ctx context.Context, run func(r spanRef, n int) error) error {
	for i := range a.rows {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowLive {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if err == nil {
			err = m.walk(run, func(*span) {})
		}
		if err != nil && !lost(err) {
			return err
		}
	}
	return nil
}
