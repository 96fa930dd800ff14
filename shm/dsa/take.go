package dsa

import (
	"context"
	"errors"
	"math"
)

// Taking a span from the session that has it to itself, be it idle or stopped, or busy with others. All of this runs
// under the area's lock, in the session that takes: the taker.
//
// The span's session writes "used" by plain stores, without the lock. So each of its calls
//
//  1. stores a note that names the span,
//  2. loads the span's state: if that is no longer the one by which it has the span, it strikes the note and forgets
//     the span,
//  3. stores "used",
//  4. strikes the note.
//
// The taker
//
//  1. makes the span contested, by compare-and-swap: it belongs to no session then,
//  2. has all processors pass a barrier,
//  3. reads all notes: a span that one of them names stays contested, and is looked at again later,
//  4. puts the span where it belongs, if no note names it.
//
// A processor may do the load of a call's step 2 before other processors see the store of its step 1. The barrier rules
// out that call and taker miss each other: a note that was stored before the barrier is seen by the taker after it,
// and a state that is loaded after the barrier is the contested one. So if no note names the span after the barrier,
// each call that loaded the state before is over, what it stored is seen, and each later call finds the span lost: the
// taker is alone with it. The model in takemodel_test.go goes through all orders of these steps.
//
// Alloc names the object in the note only after the state was loaded. If it were named before, and the process died
// having loaded a state that said that the span is lost, recovery would free an object that another session may have
// allocated since.
//
// In a contested span no session allocates; a session that frees there sets "freed", as in any span of another session.

// A session's slot says how its notes become seen by a taker.
const (
	// orderNone: unknown. Nothing is taken from the session.
	orderNone = iota
	// orderBarrier: they are seen once the taker has called fence.All.
	orderBarrier
	// orderItself: each is seen before the session's load of the state is done, as the store of a note does that by
	// itself.
	orderItself
)

// takeBack looks for spans that sessions have to themselves and do not use, for a run of n chunks or for a span of
// class c (-1: none), when the area could not grow. Refused is why: an error that is not ErrNoMemory is returned as it
// is. After each turn that yields something it calls get, under the area's lock; found reports whether that has got
// what it wanted. Without an error, and nothing found, empty segments went back, and the area may be able to grow now.
// The caller has a stripe, and does not hold the area's lock.
//
// If nothing has been freed since a search was in vain, the next one would be in vain too, and is left out: so a
// program that allocates in an area that is full, again and again, gets its error at once. The sum is taken before the
// search, so a free that the search has passed already makes the next one run.
func (a *Area) takeBack(
	ctx context.Context, c, n int, refused error, get func(context.Context) (bool, error),
) (found bool, err error) {
	if !errors.Is(refused, ErrNoMemory) {
		return false, refused
	}
	vain := &a.vain[c+1]
	for range searches {
		sum := a.freedSum()
		if vain.Load() == sum {
			break
		}
		s := search{a: a, class: c, empties: true, enough: max(n, crop)}
		if found, err = s.run(ctx, get); found || err != nil {
			return found, err
		}
		vain.Store(sum)
	}
	gave, err := a.returnForGrowth(ctx, n)
	if err == nil && !gave {
		err = refused
	}
	return false, err
}

// takeIdleSpansLocked takes the empty spans of all living sessions that no call of theirs names, and the empty ones of
// the lists. If all is false, it takes only those that are contested already: those that a taker has left which died,
// or which found their session at work. The caller holds the area's lock. Segments that are garbled or gone are passed
// over.
func (a *Area) takeIdleSpansLocked(ctx context.Context, all bool) error {
	for i := range a.rows {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowLive {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if segmentLost(err) {
			continue
		}
		if err != nil {
			return err
		}
		s := search{a: a, class: -1, empties: all, enough: math.MaxInt, left: math.MaxInt}
		s.scanRunsLocked(m)
		if _, err := s.takeContestedLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}

// names are the spans and objects that notes name.
type names []Pointer

// has reports whether the list names the run r, or anything in it.
func (list names) has(r spanRef) bool {
	start := r.start()
	for _, p := range list {
		if p.row() == r.m.row && p.offset() >= start && p.offset() < start+uint64(r.s.chunks.Load())<<chunkShift {
			return true
		}
	}
	return false
}

// freedSum returns a number that changes when an object is freed, or a session comes or goes: resting notes count what
// was freed. It takes no lock. A sum of many words that others write is that of no one moment, and two sums may be
// equal by chance; a search that is left out for that delays an allocation's success to the next free.
func (a *Area) freedSum() (sum uint64) {
	for i := range a.slots {
		w := a.slots[i].peer.Load()
		if w == 0 {
			continue
		}
		sum += w * 0x9e37_79b9_7f4a_7c15
		for k := range a.slots[i].notes {
			sum += a.slots[i].notes[k].intent.Load()
		}
	}
	return sum
}
