package dsa

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
)

// Alloc allocates n bytes, aligned to 16, with any content. A size below 1 or above 32 GiB is
// ErrSize. What keeps the area from growing is ErrNoMemory: ErrLimit, ErrFull, or the source's error.
func (a *Area) Alloc(n int) (Pointer, error) { return a.alloc(n, Place{}) }

// allocCarefully is Alloc in a scope: a fault leaves no stripe locked. There is none but under that of the class.
func (a *Area) allocCarefully(n int, into Place) (p Pointer, err error) {
	if a.head == nil { // the zero Area
		return 0, errClosed
	}
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			if need := uint64(n) + a.guard; n > 0 && need <= maxClass {
				a.stripes[classes[classOf(need)].stripe].Unlock()
			}
			p, err = 0, a.broken(recover())
		}
	}()
	if p, err = a.alloc(n, into); a.ends.Ended() {
		p, err = 0, errClosed
	}
	debug.SetPanicOnFault(old)
	whole = true
	return p, err
}

func (a *Area) alloc(n int, into Place) (Pointer, error) {
	if (a.careful || scope.Running()) && into == (Place{}) {
		return a.allocCarefully(n, nowhere)
	}
	need := uint64(n) + a.guard
	if n < 1 || need > maxClass {
		return a.allocLarge(n, into)
	}
	c := int(classOfSmall[min((need+align-1)/align, maxSmall/align)])
	if need > maxSmall {
		c = classOf(need)
	}
	cl := &classes[c]
	st := &a.stripes[cl.stripe]
	st.Lock()
	if a.ends.Ended() {
		st.Unlock()
		return 0, errClosed
	}
	h := &a.heaps[c]
	for s := h.cur.s; s != nil; {
		note := &a.notes[cl.stripe]
		note.name(h.mark, a.swaps)
		failpoint.Hit("dsa/alloc/named")
		if s.state.Load() != h.cur.state { // another session has taken it
			st.rest(note)
			h.cur, h.shared = held{}, 0
			break
		}
		for h.word < cl.words {
			used := s.words[h.word].used.Load()
			if used == ^uint64(0) {
				h.word++
				continue
			}
			bit := lowest(^used)
			if h.word<<6|bit >= cl.objects { // the bits beyond are always set, unless somebody wrote there
				st.rest(note)
				st.Unlock()
				return 0, a.answer(corrupt("the bitmap of span %d of segment %d is garbled", h.cur.chunk, h.cur.m.row))
			}
			off := h.cur.start() + uint64(h.word<<6|bit)*cl.size
			p := h.cur.m.tag | Pointer(off>>4)
			note.begin(p, into, false)
			failpoint.Hit("dsa/alloc/intended")
			store(&s.words[h.word].used, used|1<<bit)
			failpoint.Hit("dsa/alloc/used")
			slack := cl.size - uint64(n)
			if a.guard != 0 {
				slack = seal(h.cur.m.bytes[off:off+cl.size], uint64(n))
			}
			p |= Pointer(slack) << slackShift
			if a.ends.Ended() {
				store(&s.words[h.word].used, used)
				st.end(note, into)
				st.Unlock()
				return 0, errClosed
			}
			into.put(p)
			st.end(note, into)
			st.Unlock()
			return p, nil
		}
		room := h.cur.harvest(cl)
		st.rest(note)
		if !room {
			break
		}
		h.word = 0
	}
	p, err := a.allocAnew(n, h, cl, into)
	st.Unlock()
	switch {
	case a.ends.Ended():
		return 0, errClosed
	case err == nil && p == 0:
		return a.alloc(n, into)
	case err == nil:
		return p, nil
	case cl.chunks > 1: // there is no room for a whole span, perhaps for the object alone
		return a.allocLarge(n, into)
	}
	return 0, fmt.Errorf("dsa: allocate %d bytes: %w", n, err)
}

// allocAnew is alloc, under the class's stripe, of a session that has no room in the span that it allocates from: it finds
// another to allocate from, and returns no pointer, or allocates in one that is nobody's.
func (a *Area) allocAnew(n int, h *heap, cl *class, into Place) (p Pointer, err error) {
	err = a.contained(func() error {
		if a.refillOwn(h, cl) {
			return nil
		}
		if !h.shares(cl) {
			return a.refill(h, cl)
		}
		h.shared++
		return a.obtain(cl.id, cl.chunks, func(ctx context.Context) (ok bool, err error) {
			p, ok, err = a.takeSharedLocked(ctx, n, cl, into)
			return ok, err
		})
	})
	return p, err
}

// AllocZeroed is Alloc with all bytes zero.
func (a *Area) AllocZeroed(n int) (Pointer, error) {
	p, err := a.Alloc(n)
	if err != nil {
		return 0, err
	}
	err = a.contained(func() error {
		b, err := a.Bytes(p)
		clear(b)
		return err
	})
	if err = a.answer(err); err != nil {
		return 0, err
	}
	return p, nil
}

// obtain calls get under the area's lock until that has what it wants: a span of class c with room (-1: none), or a run of n
// chunks. In between it makes room: the area grows or, if it can't, what sessions have and do not use is taken from them.
func (a *Area) obtain(c, n int, get func(context.Context) (bool, error)) error {
	ctx := context.Background()
	for try := range maxTries {
		if a.ends.Ended() {
			return errClosed
		}
		found, err := a.tryGet(ctx, get)
		if errors.Is(err, ErrCorrupt) && try == 0 {
			continue // the area is repaired first
		}
		if found || err != nil {
			return err
		}
		refused := a.expand(ctx, n)
		if refused == nil {
			continue
		}
		if found, err = a.takeBack(ctx, c, n, refused, get); found || err != nil {
			return err
		}
	}
	return errOutrun
}

const maxTries = 100

var errOutrun = errkind.As(ErrNoMemory, fmt.Errorf("others took what the area grew by, %d times", maxTries))

func (a *Area) tryGet(ctx context.Context, get func(context.Context) (bool, error)) (ok bool, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	ok, err = get(ctx)
	return ok, a.doubted(err)
}

// takeSpanLocked makes a span this session's, under the area's lock: one with room that is nobody's, or a new one.
func (a *Area) takeSpanLocked(ctx context.Context, cl *class) (h held, ok bool, err error) {
	for {
		r, ok, err := a.firstLocked(cl)
		if err != nil {
			return h, false, err
		}
		if !ok {
			break
		}
		if err := a.unlink(r); err != nil {
			return h, false, err
		}
		failpoint.Hit("dsa/span/unlinked")
		h = a.own(r)
		failpoint.Hit("dsa/span/taken")
		if r.harvest(cl) {
			return h, true, nil
		}
		if err := a.giveSpan(ctx, h); err != nil {
			return h, false, err
		}
	}
	r, ok, err := a.makeSpanLocked(ctx, cl)
	if !ok || err != nil {
		return h, false, err
	}
	h = a.own(r)
	failpoint.Hit("dsa/span/made")
	return h, true, nil
}

// firstLocked returns the first span in the list of a class, under the area's lock.
func (a *Area) firstLocked(cl *class) (r spanRef, ok bool, err error) {
	first := a.head.partial[cl.id].Load()
	if first == 0 {
		return r, false, nil
	}
	if r, err = a.listed(first); err != nil {
		return r, false, err
	}
	is, err := r.class()
	if err == nil && is != cl {
		err = corrupt("a span of class %d is in the list of class %d", is.id, cl.id)
	}
	return r, err == nil, err
}

// makeSpanLocked takes the chunks of a new span, under the area's lock. Its state is still that of free ones: the caller
// stores another.
func (a *Area) makeSpanLocked(ctx context.Context, cl *class) (r spanRef, ok bool, err error) {
	if r, ok, err = a.makeRun(ctx, cl.chunks); !ok || err != nil {
		return r, false, err
	}
	r.s.class.Store(uint32(cl.id))
	r.s.clear(cl)
	failpoint.Hit("dsa/span/cleared")
	return r, true, nil
}

// own makes a span that is nobody's this session's, under the lock.
func (a *Area) own(r spanRef) held {
	h := held{r, moved(r.s.state.Load(), kindOwned, a.slot+1) + lifeUnit}
	r.s.state.Store(h.state)
	return h
}

// allocLarge gives an object chunks of its own.
func (a *Area) allocLarge(n int, into Place) (p Pointer, err error) {
	if n < 1 || uint64(n) > maxSegment {
		return 0, errkind.As(ErrSize,
			fmt.Errorf("dsa: allocate %d bytes: an object has from 1 to %d", n, uint64(maxSegment)))
	}
	chunks := int((uint64(n) + a.guard + chunkSize - 1) >> chunkShift)
	err = a.contained(func() error {
		return a.striped(func() error {
			return a.obtain(-1, chunks, func(ctx context.Context) (ok bool, err error) {
				p, ok, err = a.takeLargeLocked(ctx, n, chunks, into)
				return ok, err
			})
		})
	})
	if err = a.answer(err); err != nil {
		return 0, fmt.Errorf("dsa: allocate %d bytes: %w", n, err)
	}
	return p, nil
}

// takeLargeLocked allocates an object in a run of so many chunks, under the area's lock.
func (a *Area) takeLargeLocked(ctx context.Context, n, chunks int, into Place) (p Pointer, ok bool, err error) {
	r, ok, err := a.makeRun(ctx, chunks)
	if !ok || err != nil {
		return 0, false, err
	}
	r.s.size.Store(uint64(n))
	p = r.m.tag | Pointer(r.start()>>4)
	st, note := &a.stripes[stripes-1], &a.notes[stripes-1]
	note.begin(p, into, a.swaps)
	failpoint.Hit("dsa/large/intended")
	if a.guard != 0 {
		p = p.withSlack(seal(r.run(uint64(chunks)<<chunkShift), uint64(n)))
	}
	r.s.state.Store(moved(r.s.state.Load(), kindLarge, 0) + lifeUnit)
	failpoint.Hit("dsa/large/made")
	if a.ends.Ended() {
		err = a.releaseRun(ctx, r)
		st.end(note, into)
		return 0, false, errors.Join(errClosed, err)
	}
	into.put(p)
	st.end(note, into)
	return p, true, nil
}
