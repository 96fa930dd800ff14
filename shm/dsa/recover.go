package dsa

import (
	"context"
	"errors"
	"math"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
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

// recoverDeadLocked gives back what dead sessions had in their hands and to themselves, under the lock,
// and says how many there were.
func (a *Area) recoverDeadLocked(ctx context.Context) (n int, err error) {
	ctx = context.WithoutCancel(ctx)
	for i := range a.slots {
		w := a.slots[i].peer.Load()
		if w == 0 || i == a.slot || a.self.Alive(shmsync.PeerOf(w)) {
			continue
		}
		for k := range a.slots[i].notes {
			note := &a.slots[i].notes[k]
			err := a.recoverNoteLocked(ctx, Pointer(note.intent.Load()), Pointer(note.place.Load()))
			if err != nil && !lost(err) {
				return n, err
			}
			note.intent.Store(0)
			note.place.Store(0)
			failpoint.Hit("dsa/recover/intent")
		}
		err := a.eachRunLocked(ctx, func(r spanRef, _ int) error { return a.recoverSpanLocked(ctx, r, i) })
		if err != nil {
			return n, err
		}
		failpoint.Hit("dsa/recover/spans")
		a.slots[i].peer.Store(0)
		n++
	}
	return n, nil
}

// recoverNoteLocked frees the object that a dead session had in its hands, unless a place has it.
// The caller holds the area's lock.
func (a *Area) recoverNoteLocked(ctx context.Context, p, place Pointer) error {
	how := p.slack()
	p = p.withSlack(0)
	if how != intentHeld && how != intentStamped {
		return nil
	}
	if has, err := a.placeOwnsLocked(ctx, place, p); has || err != nil {
		return err
	}
	state, life := rowOf(a.rows[p.row()].word.Load())
	if state != rowLive || life != p.life() {
		return nil
	}
	m, err := a.mapRow(ctx, p.row())
	if err != nil {
		return err
	}
	chunk := int((p.offset() - m.data) >> chunkShift)
	if p.offset() < m.data || chunk >= m.chunks {
		return corrupt("a dead session had %v in its hands", p)
	}
	s := &m.spans[chunk]
	if kindOf(s.state.Load()) == kindPart {
		back := int(s.back.Load())
		if back < 1 || back > chunk {
			return corrupt("a dead session had %v in its hands", p)
		}
		chunk -= back
		s = &m.spans[chunk]
	}
	r := spanRef{m, chunk, s}
	rel := p.offset() - r.start()
	switch kindOf(s.state.Load()) {
	case kindLarge:
		if rel != 0 {
			return nil
		}
		a.reclaimed++
		return a.releaseRunLocked(ctx, r)
	case kindOwned, kindFull, kindPartial, kindContested:
	default:
		return nil
	}
	cl, err := r.class()
	if err != nil {
		return err
	}
	i, ok := cl.index(rel)
	if ok && s.allocated(i) && (how == intentHeld || *first(m.bytes, p.offset()) == stamp(p)) {
		s.words[i>>6].freed.Or(1 << (i & 63))
		a.reclaimed++
	}
	return nil
}

const nobody = -2 // as a slot

// recoverSpanLocked ensures that a span is where it belongs, though a session died: one that was
// that session's; one that was left full, or in its list, while something was freed in it.
// The caller holds the area's lock.
func (a *Area) recoverSpanLocked(ctx context.Context, r spanRef, slot int) error {
	state := r.s.state.Load()
	switch kindOf(state) {
	case kindOwned:
		if state&slotMask == uint64(slot+1) {
			return a.giveSpanLocked(ctx, held{r, state})
		}
		return nil
	case kindFull, kindPartial:
		return a.tidySpanLocked(ctx, r, state)
	}
	return nil
}

// tidySpanLocked puts a span that is nobody's, as state says, where it belongs. The caller holds the area's lock.
func (a *Area) tidySpanLocked(ctx context.Context, r spanRef, state uint64) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	switch kindOf(state) {
	case kindFull:
		if r.s.waiting(cl) && r.s.state.CompareAndSwap(state, moved(state, kindContested, 0)) {
			return a.settleSpanLocked(ctx, r)
		}
	case kindPartial:
		if r.s.empty(cl) {
			if err := a.unlinkLocked(r); err != nil {
				return err
			}
			return a.releaseRunLocked(ctx, r)
		}
	}
	return nil
}

// Trim gives back what is empty, however little: spans, whoever has them, and all empty segments but the first.
func (a *Area) Trim(ctx context.Context) error {
	err := a.contained(func() error {
		a.lockStripes()
		defer a.unlockStripes()
		return a.lockAreaAndCall(ctx, func() error {
			if err := a.emptyHeapsLocked(ctx, false); err != nil {
				return err
			}
			if _, err := a.recoverDeadLocked(ctx); err != nil {
				return err
			}
			return errors.Join(a.tidyLocked(ctx), a.takeIdleLocked(ctx, true), a.giveEmptyLocked(ctx))
		})
	})
	return a.after(err)
}

// tidyLocked puts all spans that are nobody's where they belong. The caller holds the area's lock.
func (a *Area) tidyLocked(ctx context.Context) error {
	return a.eachRunLocked(ctx, func(r spanRef, _ int) error { return a.recoverSpanLocked(ctx, r, nobody) })
}

// giveEmptyLocked gives back all empty segments but the first, and tries again with those that could not be.
// The caller holds the area's lock.
func (a *Area) giveEmptyLocked(ctx context.Context) error {
	var errs []error
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		if state == rowGoing || state == rowLive && r.free.Load() == r.chunks.Load() {
			errs = append(errs, a.giveSegmentLocked(ctx, i))
		}
	}
	return errors.Join(errs...)
}
