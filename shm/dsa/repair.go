package dsa

import (
	"context"

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

// repairIfDirtyLocked repairs the area if it is dirty. The caller holds the area's lock. It does not stop when ctx
// ends, since the next holder would have to begin anew.
func (a *Area) repairIfDirtyLocked(ctx context.Context) error {
	if a.head.dirty.Load() == 0 {
		return nil
	}
	return a.repairLocked(context.WithoutCancel(ctx))
}
