package dsa

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
)

// This file holds Alloc from its shortest way, in a span that the session has to itself, to its longest, when the area
// grows or takes spans from other sessions. Objects that are too large for a block are in large.go, spans that belong
// to no session in shared.go.

// Alloc allocates n bytes, aligned to 16, with any content. Any session may free the object. It stays, whatever becomes
// of the session, until it is freed or the area is removed.
//
// A size below 1 or above 32 GiB is ErrSize. What keeps the area from growing is ErrNoMemory: ErrLimit, ErrFull, or the
// source's error. As a rule Alloc waits for goroutines of this process alone. If the session has no block at hand it
// waits for the area's lock, at most 10 seconds each time, and if the area has to grow for the source.
func (a *Area) Alloc(n int) (Pointer, error) { return a.alloc(n, Place{}) }

// allocContained allocates in a scope, so that a fault is an error and leaves no stripe locked. The only stripe that
// alloc can have when a fault leaves it is that of the class: what is slower runs in contained, which catches faults
// itself, and comes back with the error. For a large object there is none.
func (a *Area) allocContained(n int, into Place) (p Pointer, err error) {
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
			p, err = 0, a.errPanic(recover())
		}
	}()
	if p, err = a.alloc(n, into); a.ends.Ended() {
		p, err = 0, errClosed
	}
	if whole = true; !old { // a structure in the area calls this in a scope of its own
		debug.SetPanicOnFault(false)
	}
	return p, err
}

// alloc allocates n bytes, and has into own them. It runs in no scope of its own unless the area is careful, or some
// goroutine of this process is in a Contain; then it calls itself once by allocContained.
//
// Under the stripe of the class it goes through the blocks of h.cur, the span to allocate from. The order of its steps
// is what take.go and recovery rely on:
//
//  1. The note names the span. From here on a session that takes the span sees that this one may be at work in it.
//  2. The span's state is loaded. If it is not the one by which this session has the span, another session has taken
//     it.
//  3. The note names the object. If the process dies from here on, recovery frees the object if it is allocated. The
//     object lies in the span, so a taker still reads the span in the note, and no exchange is needed again.
//  4. The bit in used is stored: the block is allocated. In checked mode its guard bytes are written.
//  5. The end of the area is asked for. If it has come, the bit is taken back: the caller gets no pointer, and so
//     the object would be lost.
//  6. The pointer is stored in the place, if there is one, which owns the object from then on.
//  7. The note is put to rest.
func (a *Area) alloc(n int, into Place) (Pointer, error) {
	switch {
	case into.at != 0: // in a scope already
	case a.careful, scope.Running():
		return a.allocContained(n, nowhere)
	}
	need := uint64(n) + a.guard
	var cl *class
	switch {
	case uint64(n)-1 < maxSmall-a.guard: // the frequent case, in one comparison
		cl = smallClasses[(need+align-1)/align]
	case n < 1 || need > maxClass:
		return a.allocLarge(n, into)
	default:
		cl = &classes[classOf(need)]
	}
	st := &a.stripes[cl.stripe]
	st.Lock()
	ends := a.ends.View // nil in the zero Area
	if ends == nil || ends.Ended() {
		st.Unlock()
		return 0, errClosed
	}
	h := &a.heaps[cl.id]
	for s := h.cur.s; s != nil; {
		note := st.note
		note.publishName(h.mark, a.swaps)
		failpoint.Hit("dsa/alloc/named")
		if s.state.Load() != h.cur.state { // another session has taken it
			st.clearNote()
			h.cur, h.shared = held{}, 0
			break
		}
		for h.word < cl.words {
			w := &s.words[h.word]
			used := w.used.Load()
			if used == ^uint64(0) {
				h.word++
				continue
			}
			bit := lowest(^used)
			if h.word<<6|bit >= cl.objects { // the bits beyond are always set, unless a stray store has cleared them
				st.clearNote()
				st.Unlock()
				return 0, a.orClosed(corrupt("the bitmap of span %d of segment %d is garbled", h.cur.chunk, h.cur.m.row))
			}
			off := h.cur.start() + uint64(h.word<<6|bit)*cl.size
			p := h.cur.m.tag | Pointer(off>>4)
			note.begin(p, into, false)
			failpoint.Hit("dsa/alloc/intended")
			storeOrdered(&w.used, used|1<<bit)
			failpoint.Hit("dsa/alloc/used")
			slack := cl.size - uint64(n)
			if a.guard != 0 {
				slack = writeGuardBytes(h.cur.m.bytes[off:off+cl.size], uint64(n))
			}
			p |= Pointer(slack) << slackShift
			if ends.Ended() {
				storeOrdered(&w.used, used)
				st.endNote(into)
				st.Unlock()
				return 0, errClosed
			}
			into.put(p)
			st.endNote(into)
			st.Unlock()
			return p, nil
		}
		room := h.cur.harvest(cl)
		st.clearNote()
		if !room {
			break
		}
		h.word = 0
	}
	return a.allocSlow(n, h, cl, into)
}

// allocSlow goes on with alloc for a session that has no room in the span that it allocates from. The caller has the
// class's stripe, which allocSlow gives back.
func (a *Area) allocSlow(n int, h *heap, cl *class, into Place) (Pointer, error) {
	p, err := a.allocElsewhere(n, h, cl, into)
	a.stripes[cl.stripe].Unlock()
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

// allocElsewhere finds another span to allocate from, and returns no pointer and no error, so that alloc begins again. Or
// it allocates the object in a span that belongs to no session, and returns its pointer. The caller has the class's
// stripe, and keeps it whatever happens.
func (a *Area) allocElsewhere(n int, h *heap, cl *class, into Place) (p Pointer, err error) {
	err = a.contained(func() error {
		if a.refillOwn(h, cl) {
			return nil
		}
		if !h.usesShared(cl) {
			return a.refill(h, cl)
		}
		h.shared++
		return a.getWithLock(cl.id, cl.chunks, func(ctx context.Context) (ok bool, err error) {
			p, ok, err = a.takeSharedLocked(ctx, n, cl, into)
			return ok, err
		})
	})
	return p, err
}

// AllocZeroed allocates n bytes, as Alloc does, and makes them zero. If it returns an error because bytes are gone, it
// frees the object, unless Free fails for the same reason. If the area ends in between, the object stays allocated: an
// area that has ended changes nothing more.
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
	if err = a.orClosed(err); err != nil {
		_ = a.freeContained(p, nowhere) // it may need the same bytes
		return 0, err
	}
	return p, nil
}

// maxTries is how often a call begins anew, because others change what it needs, before it returns an error.
const maxTries = 100

var errOutrun = errkind.As(ErrNoMemory, fmt.Errorf("others took what the area grew by, %d times", maxTries))

// tryGet calls get once under the area's lock.
func (a *Area) tryGet(ctx context.Context, get func(context.Context) (bool, error)) (ok bool, err error) {
	g, err := a.lockArea(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	ok, err = get(ctx)
	return ok, a.dirtyIfCorruptLocked(err)
}

// takeSpanLocked makes a span this session's, and returns it with room: one that belonged to no session, or else a new
// one; ok is false if there are neither. The caller holds the area's lock and the class's stripe.
//
// A span of the list is unlinked before it is made the session's own. A process that dies between the two leaves a
// partial span in no list, but also the lock, so the lists are made anew. A span that turns out to be full is given
// back as full.
func (a *Area) takeSpanLocked(ctx context.Context, cl *class) (h held, ok bool, err error) {
	for {
		r, ok, err := a.firstSpanLocked(cl)
		if err != nil {
			return h, false, err
		}
		if !ok {
			break
		}
		if err := a.unlinkSpanLocked(r); err != nil {
			return h, false, err
		}
		failpoint.Hit("dsa/span/unlinked")
		h = a.ownSpanLocked(r)
		failpoint.Hit("dsa/span/taken")
		if r.harvest(cl) {
			return h, true, nil
		}
		if err := a.releaseSpanLocked(ctx, h); err != nil {
			return h, false, err
		}
	}
	r, ok, err := a.makeSpanLocked(ctx, cl)
	if !ok || err != nil {
		return h, false, err
	}
	h = a.ownSpanLocked(r)
	failpoint.Hit("dsa/span/made")
	return h, true, nil
}

// AllocBytesInto allocates as AllocInto does, and returns the object that the word owns then and the object's bytes. It
// does not read the word for that: so what it returns is what it has allocated, even if a stray store changes the word.
func (a *Area) AllocBytesInto(n int, at Place) (p Pointer, b []byte, err error) {
	if p, err = a.allocInto(n, at); err != nil {
		return 0, nil, err
	}
	if b = a.Peek(p); len(b) < n {
		return 0, nil, a.orClosed(notAllocated(p)) // unmapped meanwhile
	}
	return p, b[:n:n], nil
}

// AllocInto allocates n bytes, as Alloc does, and stores the object's Pointer in a word that reads 0. If it returns an
// error the word still reads 0; if the process dies, the word either owns the object or the object is recovered. The
// zero Place is ErrPointer.
func (a *Area) AllocInto(n int, at Place) error {
	_, err := a.allocInto(n, at)
	return err
}

// allocInto allocates in a scope, into a word that there is.
func (a *Area) allocInto(n int, at Place) (Pointer, error) {
	if at.word == nil {
		return 0, fmt.Errorf("dsa: allocate into a place: %w: the zero Place is in no object", ErrPointer)
	}
	return a.allocContained(n, at)
}
