package dsa

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// Sharing a span: a session that uses little of a class has no span of it to itself. Its objects come from the list of
// the class, one by one, under the area's lock. With a span for each class a session had up to 20 MiB to itself, most
// of them free: in an area with a limit that is memory which others want, for objects of other sizes.
//
// In a shared span the holder of the area's lock writes used, as the span's session does in its own: so nothing here
// needs a barrier, and the session's note matters only if it dies.

// shareFor is how many spans' worth of objects a session allocates in shared spans before it has one to itself: so the
// free part of that is little beside what the session allocates. Of small objects, of which a span has thousands, it
// takes no more than shareMost.
const (
	shareFor  = 8
	shareMost = 4096
)

// usesShared reports whether the session allocates in spans that belong to no session. It always does so where a span is
// more than one chunk: to fill more than 8 KiB costs several times what the lock costs.
func (h *heap) usesShared(cl *class) bool {
	return cl.chunks > 1 || h.shared < min(shareFor*cl.objects, shareMost)
}

// takeSharedLocked allocates an object in the first span of the class's list that has room, or in a new one; ok is
// false if there are neither. The caller holds the area's lock and the class's stripe.
//
// A span that has no room, though it is in the list, leaves the list: it becomes contested, so that no session makes it
// its own in between, and is settled as full. A process that dies on the way has died with the lock, and the repair
// links or leaves out each span by its state.
func (a *Area) takeSharedLocked(ctx context.Context, n int, cl *class, into Place) (p Pointer, ok bool, err error) {
	for {
		r, ok, err := a.firstSpanLocked(cl)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			break
		}
		word := a.heaps[cl.id].wordWithRoom(r, cl)
		if word < 0 && r.harvest(cl) {
			word = max(a.heaps[cl.id].wordWithRoom(r, cl), 0)
		}
		if word >= 0 {
			p, err = a.allocSharedLocked(r, word, n, cl, into)
			return p, err == nil, err
		}
		if err := a.unlinkSpanLocked(r); err != nil {
			return 0, false, err
		}
		failpoint.Hit("dsa/shared/unlinked")
		r.s.state.Store(withKind(r.s.state.Load(), kindContested, 0))
		failpoint.Hit("dsa/shared/left")
		if err := a.relistContestedLocked(ctx, r); err != nil {
			return 0, false, err
		}
	}
	r, ok, err := a.makeSpanLocked(ctx, cl)
	if !ok || err != nil {
		return 0, false, err
	}
	r.s.state.Store(withKind(r.s.state.Load(), kindPartial, 0))
	failpoint.Hit("dsa/shared/made")
	if err := a.linkSpanLocked(r); err != nil {
		return 0, false, err
	}
	p, err = a.allocSharedLocked(r, 0, n, cl, into)
	return p, err == nil, err
}

// wordWithRoom returns a word of a span that has a block which can be allocated without a harvest, -1 if none has. The
// search begins where the last one in that span ended. The caller holds the area's lock and the class's stripe.
func (h *heap) wordWithRoom(r spanRef, cl *class) int {
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

// allocSharedLocked allocates an object in that word of a span that is in the list of its class. The caller holds the
// area's lock and the class's stripe. The steps are those of alloc from the third on: note, bit, guard bytes, the
// question for the end, place, rest. The note rests before the lock is given back, so recovery never takes another
// session's object in the same block for this one. A word without a block that is free, or one of which a bit that
// stands for no block is clear, is ErrCorrupt.
func (a *Area) allocSharedLocked(r spanRef, word, n int, cl *class, into Place) (Pointer, error) {
	used, bit := r.s.words[word].used.Load(), lowest(r.s.words[word].unused())
	i := word<<6 | bit
	if bit > 63 || i >= cl.objects { // the bits beyond are always set, unless a stray store has cleared them
		return 0, corrupt("the bitmap of span %d of segment %d is garbled", r.chunk, r.m.row)
	}
	p := r.m.tag | Pointer((r.start()+uint64(i)*cl.size)>>4)
	st := &a.stripes[cl.stripe]
	st.note.begin(p, into, false)
	failpoint.Hit("dsa/shared/intended")
	storeOrdered(&r.s.words[word].used, used|1<<bit)
	failpoint.Hit("dsa/shared/used")
	slack := cl.size - uint64(n)
	if a.guard != 0 {
		slack = writeGuardBytes(r.block(cl, i), uint64(n))
	}
	if a.ends.Ended() {
		storeOrdered(&r.s.words[word].used, used)
		st.endNote(into)
		return 0, errClosed
	}
	p |= Pointer(slack) << slackShift
	into.put(p)
	st.endNote(into)
	return p, nil
}
