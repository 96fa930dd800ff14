package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// This file holds a span's state: the values, and the moves that are made under the area's lock. The moves that a
// session makes without that lock are Area.markFull's (owned to full and back) and freeRemote's (full to owned).

// A span's state has three parts: bits 0-15 are the slot of the session that has the span, plus one, or 0; bits 16-18
// are the kind; what is above is the life, which changes each time that the span becomes owned, or free. So a session
// that has lost a span finds it out by comparing the whole state, even if it has got the same span back in between.
//
// Legal moves. Each is one store; those marked CAS are compare-and-swaps, since another session may move the span too.
//
//	free      -> owned, partial, large  under the area's lock, after all else of the run was written
//	free     <-> part                   under the area's lock, of a chunk that is not the first of its run
//	owned     -> full                   CAS, by its session, under the stripe alone
//	full      -> owned                  CAS, by the session that frees something in it, under the stripe alone
//	owned     -> contested              CAS, under the area's lock: by its session, its recoverer, or a taker
//	full      -> contested              CAS, under the area's lock, if something was freed in it
//	full      -> partial                CAS, under the area's lock, if something was freed while it became full
//	partial   -> contested, owned, free under the area's lock
//	contested -> partial, full, free    under the area's lock, once no session is at work in it
//	large     -> free                   under the area's lock
const (
	// kindFree: no run begins here, and the chunk is in none.
	kindFree = iota << kindShift
	// kindPart: the chunk is inside a run that begins before it, by span.back chunks.
	kindPart
	// kindOwned: the session whose slot is in the state allocates from it.
	kindOwned
	// kindFull: the span belongs to no session, and was full when it got this state. The first session that frees an
	// object in it makes it its own, or has it put into the list.
	kindFull
	// kindPartial: the span belongs to no session, and is in the list of its class. It is moved, and allocated from,
	// under the area's lock.
	kindPartial
	// kindContested: the span has been taken from its session, which may still be at work in it, or is on its way from
	// one state to another. No session allocates from it.
	kindContested
	// kindLarge: the run is one object.
	kindLarge

	kindShift = 16
	kindMask  = 7 << kindShift
	slotMask  = 1<<kindShift - 1
	lifeUnit  = 1 << 19
)

// stateKind returns a state's kind, one of the above. The eighth value, 7, is written by no session; all switches
// treat it as no run.
func stateKind(state uint64) uint64 { return state & kindMask }

// withKind returns a state with another kind and session, in the same life.
func withKind(state, kind uint64, slot int) uint64 { return state&^(lifeUnit-1) | kind | uint64(slot) }

// ownSpanLocked makes a span that belongs to no session this session's, in a new life. It is in no list. The caller
// holds the area's lock, and the stripe of the class. A process that dies after the store leaves a span with its
// number, which recovery gives back.
func (a *Area) ownSpanLocked(r spanRef) held {
	h := held{r, withKind(r.s.state.Load(), kindOwned, a.slot+1) + lifeUnit}
	r.s.state.Store(h.state)
	return h
}

// releaseSpanLocked gives back a span that a session has to itself, and puts it where it belongs. If the session has
// it no longer, since another has taken it, it does nothing: so no span is given twice. The caller holds the area's
// lock, and the stripe of the class if the session is this one; a dead session has no call under way.
//
// The state contested comes first, since no session allocates from such a span, or moves it without the lock. A process
// that dies after that leaves it contested; the next session that takes spans, Trim or Verify goes on from there.
func (a *Area) releaseSpanLocked(ctx context.Context, r held) error {
	if !r.s.state.CompareAndSwap(r.state, withKind(r.state, kindContested, 0)) {
		return nil
	}
	failpoint.Hit("dsa/span/given")
	return a.relistContestedLocked(ctx, r.spanRef)
}
