package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// relistOwn puts a span of this session where it belongs, after the session has freed a block in that word of it: among
// those with room or, if no block is allocated any more, back to the area. It is for a span that the session does not
// allocate from. If the list is too long it gives half of it back. The caller has the class's stripe. For what goes
// back it takes the area's lock; if that is not free in time the span stays this session's, and no error is returned.
func (a *Area) relistOwn(h *heap, r held, cl *class, word int) error {
	at := r.m.at[r.chunk].Load()
	if at == 0 || at&inFull != 0 {
		h.remove(r)
		h.putRoom(r)
	}
	if r.s.allocatedInWord(cl, word) != 0 || !r.s.empty(cl) {
		if len(h.room) > cl.most() {
			return a.releaseSurplus(h, cl)
		}
		return nil
	}
	ctx := context.Background()
	g, err := a.lockArea(ctx)
	if err != nil {
		return nil // it stays ready
	}
	defer g.Unlock()
	h.remove(r)
	return a.dirtyIfCorruptLocked(a.releaseSpanLocked(ctx, r))
}

// relistAdopted puts a span where it belongs that has just become this session's, since the session was the first to
// free something in it. The caller has the class's stripe. The span has been harvested before anything is allocated
// from it.
func (a *Area) relistAdopted(r held, cl *class) error {
	if mine, _ := a.harvestOwn(r, cl); !mine {
		return nil
	}
	ordered.Store32(&r.m.at[r.chunk], 0)
	return a.relistOwn(&a.heaps[cl.id], r, cl, 0)
}

// relistShared puts a span where it belongs after this session has freed something in it, and no session has it: a
// full one has room now, and an empty one goes back, unless it is the only one of its class that has room. It takes
// the area's lock; the caller has the class's stripe. If the lock is not free in time nothing is lost: the next
// session that takes spans, Trim or Verify does the same.
func (a *Area) relistShared(r spanRef, cl *class) error {
	ctx := context.Background()
	g, err := a.lockArea(ctx)
	if err != nil {
		return nil // the next session that takes spans, Trim or Verify puts it right
	}
	defer g.Unlock()
	state := r.s.state.Load()
	if is, err := r.class(); err != nil || is != cl {
		return err
	}
	if stateKind(state) == kindPartial && r.s.next.Load() == 0 && r.s.prev.Load() == 0 {
		return nil
	}
	return a.dirtyIfCorruptLocked(a.relistFreedLocked(ctx, r, state))
}

// relistAllSharedLocked puts all spans that belong to no session where they belong. The caller holds the area's lock.
func (a *Area) relistAllSharedLocked(ctx context.Context) error {
	return a.eachRunLocked(ctx, func(r spanRef, _ int) error { return a.recoverSpanLocked(ctx, r, noSession) })
}

// relistContestedLocked puts a contested span where it belongs: back to the free chunks, among the full ones, or into
// the list of its class. No session may be at work in it: it is the caller's own, its session is dead, or a barrier
// has passed and no note names it. The caller holds the area's lock.
//
// A block can be freed between the harvest and the store of full. The session that freed it saw a contested span, and
// so left it alone; if it were full now, with a block free in it, no session would look at it until something else is
// freed there. Therefore the span is looked at again after the store, and becomes partial. That is a compare-and-swap,
// since a session that frees yet another block may have made the full span its own.
func (a *Area) relistContestedLocked(ctx context.Context, r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	room := r.harvest(cl)
	if r.s.empty(cl) {
		return a.releaseRunLocked(ctx, r)
	}
	state := r.s.state.Load()
	partial := withKind(state, kindPartial, 0)
	if !room {
		full := withKind(state, kindFull, 0)
		r.s.state.Store(full)
		failpoint.Hit("dsa/span/full")
		if !r.s.hasHarvest(cl) || !r.s.state.CompareAndSwap(full, partial) {
			return nil
		}
	} else {
		r.s.state.Store(partial)
	}
	// From here on the state says that the span is in the list, and the list is derived from the states. A process that
	// dies before linkSpanLocked has linked it has died with the lock, so the next one makes the lists anew.
	failpoint.Hit("dsa/span/partial")
	if err := a.linkSpanLocked(r); err != nil { // a session that closes can't map the list's first span
		a.head.dirty.Store(1)
	}
	return nil
}

// relistFreedLocked puts a span that belongs to no session where it belongs, when something was freed in it: a full one
// that has room now, or a partial one that is empty. State is what the caller has loaded; if the span has moved on
// since, it does nothing. The caller holds the area's lock.
func (a *Area) relistFreedLocked(ctx context.Context, r spanRef, state uint64) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	switch stateKind(state) {
	case kindFull:
		if r.s.hasHarvest(cl) && r.s.state.CompareAndSwap(state, withKind(state, kindContested, 0)) {
			return a.relistContestedLocked(ctx, r)
		}
	case kindPartial:
		if r.s.empty(cl) {
			if err := a.unlinkSpanLocked(r); err != nil {
				return err
			}
			return a.releaseRunLocked(ctx, r)
		}
	}
	return nil
}
