package dsa

import (
	"context"
	"errors"

	"github.com/godsm/godsm/internal/failpoint"
)

// heap is what of a class this session has to itself, under the class's stripe: spans that it
// alone allocates from, and in which it frees without an atomic operation. That they are this
// session's stands in their states too, so that they are found when it is dead.
type heap struct {
	cur  spanRef // the one to allocate from
	word int     // of cur's bitmap: those before it are full
	room []spanRef
	full []spanRef // as of when they were put here: others may have freed something in them
}

// spot is where in its heap's lists a span is: 0 in none, else its index plus one, with inFull
// set in the list of the full ones.
type spot uint16

const inFull = spot(1) << 15

// most is how long each of a heap's lists may be: 4 MB of spans.
func (c *class) most() int { return max(64/c.chunks, 2) }

func (h *heap) putRoom(r spanRef) {
	h.room = append(h.room, r)
	r.m.at[r.chunk] = spot(len(h.room))
}

func (h *heap) putFull(r spanRef) {
	h.full = append(h.full, r)
	r.m.at[r.chunk] = spot(len(h.full)) | inFull
}

// take takes a span out of the list that it is in, if any.
func (h *heap) take(r spanRef) {
	at := r.m.at[r.chunk]
	list := &h.room
	if at&inFull != 0 {
		list = &h.full
	}
	if i := int(at&^inFull) - 1; i >= 0 && i < len(*list) && (*list)[i] == r {
		h.takeAt(list, i)
	}
}

// takeAt takes the span at i out of a list, whatever its spot says, and returns it. It is still in another list if its
// spot is not 0: a span gets into both if the other sessions took this one for dead, since a stray store hit its row, and
// gave it its own span anew.
func (h *heap) takeAt(list *[]spanRef, i int) spanRef {
	at, end := spot(i+1), len(*list)-1
	if list == &h.full {
		at |= inFull
	}
	r, last := (*list)[i], (*list)[end]
	if r.m.at[r.chunk] == at {
		r.m.at[r.chunk] = 0
	}
	if i < end {
		(*list)[i] = last
		last.m.at[last.chunk] = at
	}
	(*list)[end] = spanRef{}
	*list = (*list)[:end]
	return r
}

// refill finds another span to allocate from, under the stripe: one that this session has, one
// with room that is nobody's, or a new one.
func (a *Area) refill(h *heap, c int) error {
	cl := &classes[c]
	if h.cur.s != nil {
		if len(h.full) >= cl.most() {
			oldest := h.takeAt(&h.full, 0)
			if !a.retire(oldest, cl) {
				h.putRoom(oldest)
			}
		}
		h.putFull(h.cur)
	}
	h.cur, h.word = spanRef{}, 0
	for n := len(h.room); n > 0; n = len(h.room) {
		r := h.takeAt(&h.room, n-1)
		if r.m.at[r.chunk] != 0 {
			continue
		}
		if r.harvest(cl) {
			h.cur = r
			return nil
		}
		h.putFull(r)
	}
	for i, r := range h.full {
		if r.s.waiting(cl) && r.harvest(cl) {
			h.cur = h.takeAt(&h.full, i)
			return nil
		}
	}
	ctx := context.Background()
	for try := range maxTries {
		if a.ends.Ended() {
			return errClosed
		}
		r, ok, err := a.takeSpan(ctx, c)
		if errors.Is(err, ErrCorrupt) && try == 0 {
			continue // the area is repaired first
		}
		if err != nil {
			return err
		}
		if ok {
			h.cur = r
			return nil
		}
		if err := a.expand(ctx, cl.chunks); err != nil {
			return err
		}
	}
	return errOutrun
}

const maxTries = 100

// retire leaves a span without room to whoever frees something in it. False: somebody just has,
// so it is this session's still.
func (a *Area) retire(r spanRef, cl *class) bool {
	st := r.s.state.Load()
	full := moved(st, kindFull, 0)
	r.s.state.Store(full)
	failpoint.Hit("dsa/span/retired")
	if !r.s.waiting(cl) || !r.s.state.CompareAndSwap(full, st) {
		return true
	}
	r.harvest(cl)
	return false
}

// roomIn is told that this session has freed a block, in that word, in a span of its own that it
// does not allocate from.
func (a *Area) roomIn(h *heap, r spanRef, cl *class, word int) error {
	at := r.m.at[r.chunk]
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
	return a.doubted(a.giveSpan(ctx, r))
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
		r := h.takeAt(&h.room, 0)
		if r.m.at[r.chunk] != 0 {
			continue
		}
		if err := a.giveSpan(ctx, r); err != nil {
			return a.doubted(err)
		}
	}
	return nil
}

// adopted is told that a span has just become this session's, since it was the first to free something in it.
func (a *Area) adopted(r spanRef, cl *class) error {
	r.m.at[r.chunk] = 0
	r.harvest(cl)
	return a.roomIn(&a.heaps[cl.id], r, cl, 0)
}

// inHeaps is where this session has spans to itself, as far as its own lists say, under all stripes.
func (a *Area) inHeaps() map[*mapping]bool {
	in := map[*mapping]bool{}
	for i := range a.heaps {
		h := &a.heaps[i]
		if h.cur.s != nil {
			in[h.cur.m] = true
		}
		for _, r := range h.room {
			in[r.m] = true
		}
		for _, r := range h.full {
			in[r.m] = true
		}
	}
	return in
}

// emptyHeaps gives this session's own spans back, all or the empty ones, under all stripes and the lock.
func (a *Area) emptyHeaps(ctx context.Context, all bool) error {
	for i := range a.heaps {
		h, cl := &a.heaps[i], &classes[i]
		if h.cur.s != nil {
			h.putRoom(h.cur)
		}
		list := append(h.room, h.full...)
		*h = heap{}
		for _, r := range list {
			r.m.at[r.chunk] = 0
			room := r.harvest(cl)
			switch {
			case all || r.s.empty(cl):
				if err := a.giveSpan(ctx, r); err != nil {
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
