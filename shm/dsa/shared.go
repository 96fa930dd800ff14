package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// Sharing a span: a session that uses little of a class has no span of it to itself. Its objects come from the list of the
// class, one by one, under the area's lock. With a span for each class a session had up to 20 MiB to itself, most of them
// free: in an area with a limit that is memory which others want, for objects of other sizes.

// shareFor is how many spans' worth of objects a session allocates in shared spans before it has one to itself: so the
// free part of that is little beside what the session allocates. Of small objects, of which a span has thousands, it takes
// no more than shareMost.
const (
	shareFor  = 8
	shareMost = 8192
)

// shares reports whether the session allocates in spans that are nobody's. It always does so where a span is more than one
// chunk: to fill more than 8 KiB costs several times what the lock costs.
func (h *heap) shares(cl *class) bool {
	return cl.chunks > 1 || h.shared < min(shareFor*cl.objects, shareMost)
}

// takeSharedLocked allocates an object in the first span of the list that has room, or in a new one; it holds the area's
// lock.
func (a *Area) takeSharedLocked(ctx context.Context, n int, cl *class, into Place) (p Pointer, ok bool, err error) {
	for {
		r, ok, err := a.firstLocked(cl)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			break
		}
		word := a.heaps[cl.id].unusedIn(r, cl)
		if word < 0 && r.harvest(cl) {
			word = max(a.heaps[cl.id].unusedIn(r, cl), 0)
		}
		if word >= 0 {
			p, err = a.allocInLocked(r, word, n, cl, into)
			return p, err == nil, err
		}
		if err := a.unlinkLocked(r); err != nil {
			return 0, false, err
		}
		failpoint.Hit("dsa/shared/unlinked")
		r.s.state.Store(moved(r.s.state.Load(), kindContested, 0))
		failpoint.Hit("dsa/shared/left")
		if err := a.settleSpanLocked(ctx, r); err != nil {
			return 0, false, err
		}
	}
	r, ok, err := a.makeSpanLocked(ctx, cl)
	if !ok || err != nil {
		return 0, false, err
	}
	r.s.state.Store(moved(r.s.state.Load(), kindPartial, 0))
	failpoint.Hit("dsa/shared/made")
	if err := a.linkLocked(r); err != nil {
		return 0, false, err
	}
	p, err = a.allocInLocked(r, 0, n, cl, into)
	return p, err == nil, err
}

// unusedIn returns a word of a span that has a block which can be allocated without a harvest, -1 if none has: the search begins
// where the last one in that span ended.
func (h *heap) unusedIn(r spanRef, cl *class) int {
	if h.from != r.s {
		h.from, h.fromWord = r.s, 0
	}
	for range cl.words {
		if r.s.words[h.fromWord].unused() != 0 {
			return h.fromWord
		}
		if h.fromWord++; h.fromWord >= cl.words {
			h.fromWord = 0
		}
	}
	return -1
}

// allocInLocked allocates an object in that word of a span that is in the list of its class; it holds
// the area's lock.
func (a *Area) allocInLocked(r spanRef, word, n int, cl *class, into Place) (Pointer, error) {
	used, bit := r.s.words[word].used.Load(), lowest(r.s.words[word].unused())
	i := word<<6 | bit
	if bit > 63 || i >= cl.objects { // the bits beyond are always set, unless somebody wrote there
		return 0, corrupt("the bitmap of span %d of segment %d is garbled", r.chunk, r.m.row)
	}
	p := r.m.tag | Pointer((r.start()+uint64(i)*cl.size)>>4)
	st, note := &a.stripes[cl.stripe], &a.notes[cl.stripe]
	note.begin(p, into, false)
	failpoint.Hit("dsa/shared/intended")
	store(&r.s.words[word].used, used|1<<bit)
	failpoint.Hit("dsa/shared/used")
	slack := cl.size - uint64(n)
	if a.guard != 0 {
		slack = seal(r.block(cl, i), uint64(n))
	}
	if a.ends.Ended() {
		store(&r.s.words[word].used, used)
		st.end(note, into)
		return 0, errClosed
	}
	p |= Pointer(slack) << slackShift
	into.put(p)
	st.end(note, into)
	return p, nil
}

// tidied is told, under the class's stripe, that this session has freed something in a span that is nobody's: one that was full now has room, one
// that is empty goes back, unless it is the only one of its class that has room.
func (a *Area) tidied(r spanRef, cl *class) error {
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return nil // who takes spans, Trim or Verify puts it right
	}
	defer g.Unlock()
	state := r.s.state.Load()
	if is, err := r.class(); err != nil || is != cl {
		return err
	}
	if kindOf(state) == kindPartial && r.s.next.Load() == 0 && r.s.prev.Load() == 0 {
		return nil
	}
	return a.doubtedLocked(a.tidySpanLocked(ctx, r, state))
}
