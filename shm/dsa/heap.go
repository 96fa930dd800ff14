package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// This file holds what a session has to itself: for each class one span to allocate from, some with room, and some that
// were full. All of it is in ordinary memory, so a death forgets it; the spans' states, in shared memory, say whose
// they are, and recovery goes by those. What is here can therefore be wrong in one way only: another session has taken
// a span in between. Each use of a span begins with a look at its state, under a note or the area's lock, and strikes
// the span from the lists if it is lost.
//
// A session keeps at most so many spans as class.most says in each list. It leaves further full ones to the first
// session that frees something in them, and gives back half of those with room.

// heap is what of a class this session has to itself, under the class's stripe: spans that it alone allocates from, and
// in which it frees without an atomic operation.
type heap struct {
	// cur is the span to allocate from; its s is nil if there is none.
	cur held
	// mark is the intent that names cur.
	mark uint64
	// word is where in cur's bitmap the search for a free block goes on: the words before it are full.
	word int
	// shared is how many objects were allocated in spans that belong to no session, since the session attached, or
	// since a span of the class was taken from it.
	shared int
	// from is the span in which the last of those was allocated. It is only compared, since it may be unmapped.
	// FromWord is where in its bitmap that was.
	from     *span
	fromWord int
	// room are spans that had room when they were put here.
	room []held
	// full are spans that had none when they were put here. Other sessions may have freed something in them.
	full []held
}

// held is a span that this session has to itself as long as its state is the one given here. The life in the state is
// another each time that a span becomes owned, so the state never comes back.
type held struct {
	spanRef
	state uint64
}

// mine reports whether the session has the span still. True may be stale at once, unless a note names the span or the
// caller holds the area's lock; false stays false.
func (r held) mine() bool { return r.s.state.Load() == r.state }

// spot is where in its heap's lists a span was put last: 0 in none, else its index plus one, with inFull set in the
// list of the full ones. It is a hint: a span that was taken from this session, and came back as one of another class,
// is in the lists of both.
type spot = uint32

const inFull = spot(1) << 31

// most returns how long each of a heap's lists may be: 4 MiB of spans, and two of them at least.
func (c *class) most() int { return max(64/c.chunks, 2) }

// putRoom appends a span to the list of those with room. The caller has the class's stripe.
func (h *heap) putRoom(r held) {
	h.room = append(h.room, r)
	ordered.Store32(&r.m.at[r.chunk], spot(len(h.room)))
}

// putFull appends a span to the list of the full ones. The caller has the class's stripe.
func (h *heap) putFull(r held) {
	h.full = append(h.full, r)
	ordered.Store32(&r.m.at[r.chunk], spot(len(h.full))|inFull)
}

// setCur makes a span the one to allocate from. It is in neither list. The caller has the class's stripe.
func (h *heap) setCur(r held) {
	h.cur, h.word, h.mark = r, 0, r.intent()
}

// remove takes a span out of the list that it is in, if any. The caller has the class's stripe.
func (h *heap) remove(r held) {
	at := r.m.at[r.chunk].Load()
	list := &h.room
	if at&inFull != 0 {
		list = &h.full
	}
	if i := int(at&^inFull) - 1; i >= 0 && i < len(*list) && (*list)[i].spanRef == r.spanRef {
		h.removeAt(list, i)
	}
}

// removeAt takes the span at i out of a list, and returns it. The last one of the list moves to its place. The span's
// spot is cleared if it names this place; if it names another, the span came back in another list since. The caller has
// the class's stripe.
func (h *heap) removeAt(list *[]held, i int) held {
	at, end := spot(i+1), len(*list)-1
	if list == &h.full {
		at |= inFull
	}
	r, last := (*list)[i], (*list)[end]
	if r.m.at[r.chunk].Load() == at {
		ordered.Store32(&r.m.at[r.chunk], 0)
	}
	if i < end {
		(*list)[i] = last
		ordered.Store32(&last.m.at[last.chunk], at)
	}
	(*list)[end] = held{}
	*list = (*list)[:end]
	return r
}

// refill finds another span to allocate from: one with room that belongs to no session, a new one or, if the area
// cannot grow, one that another session does not use. The caller has the class's stripe; refill waits as getWithLock
// does.
func (a *Area) refill(h *heap, cl *class) error {
	return a.getWithLock(cl.id, cl.chunks, func(ctx context.Context) (ok bool, err error) {
		r, ok, err := a.takeSpanLocked(ctx, cl)
		if ok && err == nil {
			h.setCur(r)
		}
		return ok, err
	})
}

// refillOwn looks for a span to allocate from among those that the session has to itself, and reports whether it found
// one. The caller has the class's stripe. It takes no lock that other processes have, and so is fast while they are
// stopped.
//
// On the way it strikes spans that the session has no longer; such a loss makes the session share spans of the class
// again. Full ones that are too many it leaves to the first session that frees something in them.
func (a *Area) refillOwn(h *heap, cl *class) bool {
	if h.cur.s != nil {
		h.putFull(h.cur)
	}
	h.cur, h.word = held{}, 0
	most := cl.most()
	if h.usesShared(cl) {
		most = 0
	}
	for len(h.full) > most {
		if again, ok := a.markFull(h.removeAt(&h.full, 0), cl); ok {
			h.putRoom(again)
		}
	}
	for n := len(h.room); n > 0; n = len(h.room) {
		r := h.removeAt(&h.room, n-1)
		mine, room := a.harvestOwn(r, cl)
		if room {
			h.setCur(r)
			return true
		}
		if mine {
			h.putFull(r)
		} else {
			h.shared = 0
		}
	}
	for i := 0; i < len(h.full); {
		r := h.full[i]
		if !r.mine() {
			h.removeAt(&h.full, i)
			h.shared = 0
			continue
		}
		if r.s.hasHarvest(cl) {
			if _, room := a.harvestOwn(r, cl); room {
				h.setCur(h.removeAt(&h.full, i))
				return true
			}
		}
		i++
	}
	return false
}

// harvestOwn makes blocks that other sessions have freed in a span of this session free for allocation. It reports
// whether the span is this session's still, and has room then. The caller has the class's stripe. The note comes
// first, then the look at the state, then the harvest: a session that takes the span in between sees the note, and
// leaves the span contested.
func (a *Area) harvestOwn(r held, cl *class) (mine, room bool) {
	st := &a.stripes[cl.stripe]
	st.note.publishName(r.intent(), a.swaps)
	failpoint.Hit("dsa/collect/named")
	if mine = r.mine(); mine {
		room = r.harvest(cl)
		failpoint.Hit("dsa/collect/done")
	}
	st.clearNote()
	return mine, room
}

// markFull changes a span that has no free block from owned to full. A full span belongs to no session; the first
// session that frees a block in it takes it over. If a session frees a block in it just before the state changes, that
// session sees an owned span, and leaves it to the session that has it. So markFull looks again after the change, and
// makes the span its own once more if something was freed; it then returns the span, and ok is true if it still has
// it. The caller has the class's stripe, and has taken the span out of its lists. A process that dies after the first
// compare-and-swap leaves a full span with a free block, which Trim, Verify and recovery put right.
func (a *Area) markFull(r held, cl *class) (again held, ok bool) {
	full := withKind(r.state, kindFull, 0)
	if !r.s.state.CompareAndSwap(r.state, full) {
		return r, false // another session has taken it
	}
	failpoint.Hit("dsa/span/retired")
	r.state = withKind(r.state, kindOwned, a.slot+1) + lifeUnit
	if !r.s.hasHarvest(cl) || !r.s.state.CompareAndSwap(full, r.state) {
		return r, false
	}
	mine, _ := a.harvestOwn(r, cl)
	return r, mine
}

// releaseEmptyCur gives the span back that the session allocates from, since the session has freed its last block and
// has others with room. The caller has the class's stripe, and has found both. If the area's lock is not free in time,
// the span stays.
func (a *Area) releaseEmptyCur(h *heap) error {
	ctx := context.Background()
	g, err := a.lockArea(ctx)
	if err != nil {
		return nil
	}
	defer g.Unlock()
	r := h.cur
	h.cur, h.word = held{}, 0
	return a.dirtyIfCorruptLocked(a.releaseSpanLocked(ctx, r))
}

// releaseSurplus gives back half of as many spans with room as the list may have, so that all sessions can have them.
// The caller has the class's stripe. If the area's lock is not free in time, they stay.
func (a *Area) releaseSurplus(h *heap, cl *class) error {
	ctx := context.Background()
	g, err := a.lockArea(ctx)
	if err != nil {
		return nil // they are this session's still
	}
	defer g.Unlock()
	for range cl.most() / 2 {
		if err := a.releaseSpanLocked(ctx, h.removeAt(&h.room, 0)); err != nil {
			return a.dirtyIfCorruptLocked(err)
		}
	}
	return nil
}

// heapSegments returns the segments in which this session has spans to itself. It strikes those spans from the lists
// that the session has no longer, so that what they lie in can be unmapped. The caller has all stripes.
func (a *Area) heapSegments() map[*mapping]bool {
	in := map[*mapping]bool{}
	for i := range a.heaps {
		h := &a.heaps[i]
		if h.cur.s != nil && !h.cur.mine() {
			h.cur, h.word = held{}, 0
		}
		if h.cur.s != nil {
			in[h.cur.m] = true
		}
		for _, list := range []*[]held{&h.room, &h.full} {
			for i := len(*list) - 1; i >= 0; i-- {
				if r := (*list)[i]; r.mine() {
					in[r.m] = true
				} else {
					h.removeAt(list, i)
				}
			}
		}
	}
	return in
}

// releaseHeapsLocked gives this session's own spans back: all of them, or the empty ones. The others are put into the
// lists anew. The caller holds the area's lock and all stripes. A span that was lost and came back may be in two lists,
// of two classes even; it is given once, since giving it changes its state.
func (a *Area) releaseHeapsLocked(ctx context.Context, all bool) error {
	for i := range classes {
		h, cl := &a.heaps[i], &classes[i]
		list := append(h.room, h.full...)
		if h.cur.s != nil {
			list = append(list, h.cur)
		}
		*h = heap{}
		for _, r := range list {
			ordered.Store32(&r.m.at[r.chunk], 0)
		}
		for _, r := range list {
			if !r.mine() || r.m.at[r.chunk].Load() != 0 {
				continue
			}
			room := r.harvest(cl)
			switch {
			case all || r.s.empty(cl):
				if err := a.releaseSpanLocked(ctx, r); err != nil {
					return err
				}
			case room:
				h.putRoom(r)
			default:
				h.putFull(r)
			}
		}
	}
	return nil
}
