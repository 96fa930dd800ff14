package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file undoes what a session has left that died: the object in its hands, by its notes, and the spans that it had
// to itself, by their states. It needs no word from the dead process. Each step is safe to do twice, and the slot is
// cleared last: so a session that dies while it recovers another one leaves the rest to the next.

// Recover gives back what dead sessions had in their hands or to themselves, and returns how many there were. Sessions
// also do so when they attach, grow the area, trim or verify; Recover is for a caller that has to know that it is done.
// It waits for the area's lock, for at most 10 seconds or until ctx ends.
func (a *Area) Recover(ctx context.Context) (dead int, err error) {
	err = a.withStripeAndLock(ctx, func() error {
		dead, err = a.recoverDeadLocked(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return dead, nil
}

// recoverDeadLocked gives back what dead sessions had in their hands and to themselves, and returns how many there
// were. The caller holds the area's lock. A segment that is garbled or gone is passed over: what lay in it is lost
// already.
//
// A session is dead if Self.Alive says so of the peer in its slot. The notes come before the spans: a note's object is
// freed by its bit in freed, which giving the span back then harvests. Each note is cleared after its object was dealt
// with, and the slot after all else.
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
			if err != nil && !segmentLost(err) {
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

// recoverNoteLocked frees the object that a dead session had in its hands, unless a place owns it. P is the note's
// intent, and place its place. The caller holds the area's lock.
//
// The note says which object, not how far the session came with it. That follows from the object itself: if it is not
// allocated, the session had not stored the bit yet, or had freed the object, and nothing is to be done. If it is
// allocated and no place owns it, no program knows it. Only an object that was being freed in a span of another session
// needs more: it may have been freed, and allocated again by another session, so the stamp has to be there.
//
// With intentHeld no other session can have got the block since the death, even if the session had freed it. A block in
// a span of the dead session's own is allocated by no session before recovery gives that span back, and a taker leaves
// a span alone that a note names. A block in a shared span, and a large object, are allocated, and large ones freed,
// under the area's lock with the note struck before the lock is given back: so the session has died with the lock, and
// the repair runs this recovery before the lock's next holder allocates anything.
//
// The object is freed by its bit in freed, not in used, whose writer may be a living session.
//
// A note lies in shared memory. It is ErrCorrupt if it leads to no chunk of the segment, or to a chunk whose way back
// to its run leads nowhere. One that leads into a segment that is gone, to no run, or into the middle of an object
// means nothing: only a stray store, or a death before the object was there, leaves such a note.
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
	if stateKind(s.state.Load()) == kindPart {
		back := int(s.back.Load())
		if back < 1 || back > chunk {
			return corrupt("a dead session had %v in its hands", p)
		}
		chunk -= back
		s = &m.spans[chunk]
	}
	r := spanRef{m, chunk, s}
	rel := p.offset() - r.start()
	switch stateKind(s.state.Load()) {
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
	if ok && s.allocated(i) && (how == intentHeld || *wordAt(m.bytes, p.offset()) == freedStamp(p)) {
		s.words[i>>6].freed.Or(1 << (i & 63))
		a.reclaimed++
	}
	return nil
}

// noSession is a slot that no session has, for recoverSpanLocked.
const noSession = -2

// recoverSpanLocked puts a span where it belongs: one that the dead session of that slot had to itself, and one that
// belongs to no session, and was left full or in its list though something was freed in it. With noSession it does the
// latter only. The caller holds the area's lock.
func (a *Area) recoverSpanLocked(ctx context.Context, r spanRef, slot int) error {
	state := r.s.state.Load()
	switch stateKind(state) {
	case kindOwned:
		if state&slotMask == uint64(slot+1) {
			return a.releaseSpanLocked(ctx, held{r, state})
		}
		return nil
	case kindFull, kindPartial:
		return a.relistFreedLocked(ctx, r, state)
	}
	return nil
}
