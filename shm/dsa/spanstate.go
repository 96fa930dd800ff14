package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// A span's state: bits 0-15 the slot of its session plus one, 16-18 the kind, above that its life.
const (
	kindFree      = iota << kindShift
	kindPart      // inside a run
	kindOwned     // a session allocates from it; only that one moves it
	kindFull      // nobody's. Whoever frees an object in it makes it his
	kindPartial   // nobody's, and in the list of its class; moved, and allocated in, under the lock
	kindContested // taken from its session, which may be at work in it still, or on its way; nobody allocates in it
	kindLarge     // one object

	kindShift = 16
	kindMask  = 7 << kindShift
	slotMask  = 1<<kindShift - 1
	lifeUnit  = 1 << 19
)

func kindOf(state uint64) uint64 { return state & kindMask }

// moved returns a state with another kind and session, in the same life.
func moved(state, kind uint64, slot int) uint64 { return state&^(lifeUnit-1) | kind | uint64(slot) }

// ownLocked makes a span that is nobody's this session's, under the lock.
func (a *Area) ownLocked(r spanRef) held {
	h := held{r, moved(r.s.state.Load(), kindOwned, a.slot+1) + lifeUnit}
	r.s.state.Store(h.state)
	return h
}

// giveSpanLocked makes a span nobody's that a session has to itself, under the lock, and under the class's stripe unless the
// session is dead. One that it has no longer is left alone: so none is given twice.
func (a *Area) giveSpanLocked(ctx context.Context, r held) error {
	if !r.s.state.CompareAndSwap(r.state, moved(r.state, kindContested, 0)) {
		return nil
	}
	failpoint.Hit("dsa/span/given")
	return a.settleSpanLocked(ctx, r.spanRef)
}

// settleSpanLocked puts a contested span in which no session is at work where it belongs, under the lock: back to the chunks,
// full, or in the list of its class.
func (a *Area) settleSpanLocked(ctx context.Context, r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	room := r.harvest(cl)
	if r.s.empty(cl) {
		return a.releaseRunLocked(ctx, r)
	}
	state := r.s.state.Load()
	partial := moved(state, kindPartial, 0)
	if !room {
		full := moved(state, kindFull, 0)
		r.s.state.Store(full)
		failpoint.Hit("dsa/span/full")
		if !r.s.waiting(cl) || !r.s.state.CompareAndSwap(full, partial) {
			return nil
		}
	} else {
		r.s.state.Store(partial)
	}
	failpoint.Hit("dsa/span/partial")
	if err := a.linkLocked(r); err != nil { // a session that closes can't map the list's first span
		a.head.dirty.Store(1)
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
