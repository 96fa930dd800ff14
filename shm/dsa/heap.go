package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// heap is what of a class this session has to itself, under the class's stripe: spans that it alone allocates from, and
// in which it frees without an atomic operation. That they are this session's stands in their states, which decide:
// another session may have taken a span meanwhile, and what is here is a hint at where to look.
type heap struct {
	cur      held   // the one to allocate from
	mark     uint64 // the note that names it
	word     int    // of cur's bitmap: those before it are full
	shared   int    // objects allocated in spans that are nobody's, since a span was taken from this session
	from     *span  // where it allocated the last of those; only to be compared, since it may be unmapped
	fromWord int    // of its bitmap
	room     []held
	full     []held // as of when they were put here: others may have freed something in them
}

// held is a span that this session has to itself as long as its state is that. No other time at which a span is owned
// has the same state.
type held struct {
	spanRef
	state uint64
}

func (r held) mine() bool { return r.s.state.Load() == r.state }

// spot is where in its heap's lists a span was put last: 0 in none, else its index plus one, with inFull set in the list
// of the full ones. It is a hint: a span that was taken from this session, and came back as one of another class, is in
// the lists of both.
type spot = uint32

const inFull = spot(1) << 31

// most returns how long each of a heap's lists may be: 4 MB of spans.
func (c *class) most() int { return max(64/c.chunks, 2) }

func (h *heap) putRoom(r held) {
	h.room = append(h.room, r)
	ordered.Store32(&r.m.at[r.chunk], spot(len(h.room)))
}

func (h *heap) putFull(r held) {
	h.full = append(h.full, r)
	ordered.Store32(&r.m.at[r.chunk], spot(len(h.full))|inFull)
}

// setCur makes a span the one to allocate from.
func (h *heap) setCur(r held) {
	h.cur, h.word, h.mark = r, 0, r.mark()
}

// take takes a span out of the list that it is in, if any.
func (h *heap) take(r held) {
	at := r.m.at[r.chunk].Load()
	list := &h.room
	if at&inFull != 0 {
		list = &h.full
	}
	if i := int(at&^inFull) - 1; i >= 0 && i < len(*list) && (*list)[i].spanRef == r.spanRef {
		h.takeAt(list, i)
	}
}

// takeAt takes the span at i out of a list, whatever its spot says, and returns it.
func (h *heap) takeAt(list *[]held, i int) held {
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

// refill finds another span to allocate from, under the stripe: one with room that is nobody's, a new one or, if the area
// can't grow, one that another session does not use.
func (a *Area) refill(h *heap, cl *class) error {
	return a.lockAndGet(cl.id, cl.chunks, func(ctx context.Context) (ok bool, err error) {
		r, ok, err := a.takeSpanLocked(ctx, cl)
		if ok && err == nil {
			h.setCur(r)
		}
		return ok, err
	})
}

// refillOwn finds a span to allocate from among those of the session, under the stripe. It strikes those that the session
// has no longer, and leaves full ones that are too many to whoever frees something in them.
func (a *Area) refillOwn(h *heap, cl *class) bool {
	if h.cur.s != nil {
		h.putFull(h.cur)
	}
	h.cur, h.word = held{}, 0
	most := cl.most()
	if h.shares(cl) {
		most = 0
	}
	for len(h.full) > most {
		if again, ok := a.retire(h.takeAt(&h.full, 0), cl); ok {
			h.putRoom(again)
		}
	}
	for n := len(h.room); n > 0; n = len(h.room) {
		r := h.takeAt(&h.room, n-1)
		mine, room := a.collect(r, cl)
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
			h.takeAt(&h.full, i)
			h.shared = 0
			continue
		}
		if r.s.waiting(cl) {
			if _, room := a.collect(r, cl); room {
				h.setCur(h.takeAt(&h.full, i))
				return true
			}
		}
		i++
	}
	return false
}

// collect makes blocks that others have freed in a span of this session free for allocation, under the class's stripe. It
// reports whether the span is this session's still, and has room then.
func (a *Area) collect(r held, cl *class) (mine, room bool) {
	st, note := &a.stripes[cl.stripe], &a.notes[cl.stripe]
	note.name(r.mark(), a.swaps)
	failpoint.Hit("dsa/collect/named")
	if mine = r.mine(); mine {
		room = r.harvest(cl)
		failpoint.Hit("dsa/collect/done")
	}
	st.rest(note)
	return mine, room
}

// retire leaves a span without room to whoever frees something in it. If some session has done so meanwhile the span is
// this session's again, and is returned.
func (a *Area) retire(r held, cl *class) (again held, ok bool) {
	full := moved(r.state, kindFull, 0)
	if !r.s.state.CompareAndSwap(r.state, full) {
		return r, false // another session has taken it
	}
	failpoint.Hit("dsa/span/retired")
	r.state = moved(r.state, kindOwned, a.slot+1) + lifeUnit
	if !r.s.waiting(cl) || !r.s.state.CompareAndSwap(full, r.state) {
		return r, false
	}
	mine, _ := a.collect(r, cl)
	return r, mine
}

// roomIn is told that this session has freed a block, in that word, in a span of its own that it does not allocate from.
func (a *Area) roomIn(h *heap, r held, cl *class, word int) error {
	at := r.m.at[r.chunk].Load()
	if at == 0 || at&inFull != 0 {
		h.take(r)
		h.putRoom(r)
	}
	if r.s.inWord(cl, word) != 0 || !r.s.empty(cl) {
		if len(h.room) > cl.most() {
			return a.handOn(h, cl)
		}
		return nil
	}
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return nil // it stays ready
	}
	defer g.Unlock()
	h.take(r)
	return a.doubtedLocked(a.giveSpanLocked(ctx, r))
}

// curEmptied is told that this session has freed the last block of the span that it allocates from. If there is another
// with room, the span goes back.
func (a *Area) curEmptied(h *heap) error {
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return nil
	}
	defer g.Unlock()
	r := h.cur
	h.cur, h.word = held{}, 0
	return a.doubtedLocked(a.giveSpanLocked(ctx, r))
}

// handOn gives half of the spans with room to whoever wants them.
func (a *Area) handOn(h *heap, cl *class) error {
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return nil // they are this session's still
	}
	defer g.Unlock()
	for range cl.most() / 2 {
		if err := a.giveSpanLocked(ctx, h.takeAt(&h.room, 0)); err != nil {
			return a.doubtedLocked(err)
		}
	}
	return nil
}

// adopted is told that a span has just become this session's, since it was the first to free something in it.
func (a *Area) adopted(r held, cl *class) error {
	if mine, _ := a.collect(r, cl); !mine {
		return nil
	}
	ordered.Store32(&r.m.at[r.chunk], 0)
	return a.roomIn(&a.heaps[cl.id], r, cl, 0)
}

// inHeaps returns where this session has spans to itself, under all stripes. Those that it has no longer it strikes from the
// lists: so what they lie in can be unmapped.
func (a *Area) inHeaps() map[*mapping]bool {
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
					h.takeAt(list, i)
				}
			}
		}
	}
	return in
}

// emptyHeapsLocked gives this session's own spans back, all or the empty ones, under all stripes and the lock. Whatever lists a
// span is in, it is given once: giving it changes its state.
func (a *Area) emptyHeapsLocked(ctx context.Context, all bool) error {
	for i := range a.heaps {
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
				if err := a.giveSpanLocked(ctx, r); err != nil {
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
