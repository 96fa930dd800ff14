package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// Recover gives back what dead sessions had in their hands or to themselves, and says how many
// there were. Others do so too, in their time: this is for who has to know that it is done.
func (a *Area) Recover(ctx context.Context) (dead int, err error) {
	err = a.lockAndCall(ctx, func() error {
		dead, err = a.recoverDeadLocked(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return dead, nil
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

// placeOwnsLocked reports whether the word at that place owns p. The caller holds the area's lock.
func (a *Area) placeOwnsLocked(ctx context.Context, place, p Pointer) (bool, error) {
	if state, life := rowOf(a.rows[place.row()].word.Load()); place == 0 || state != rowLive || life != place.life() {
		return false, nil
	}
	m, err := a.mapRow(ctx, place.row())
	if err != nil {
		return false, err
	}
	off := place.offset() + place.slack()&8
	if off < m.data || off+8 > uint64(len(m.bytes)) {
		return false, nil
	}
	return Pointer(*first(m.bytes, off)).withSlack(0) == p, nil
}
