package dsa

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/failpoint"
)

// Free frees an object, whoever allocated it. A pointer whose object was freed before, or that never was one of this
// area's, is ErrPointer; in checked mode, an object past whose end somebody wrote is ErrOverrun, and stays allocated.
func (a *Area) Free(p Pointer) error { return a.free(p, Place{}) }

func (a *Area) free(p Pointer, from Place) error {
	m, chunk, rel, err := a.find(p)
	if err != nil {
		return err
	}
	r := spanRef{m, chunk, &m.spans[chunk]}
	state := r.s.state.Load()
	switch kindOf(state) {
	case kindOwned, kindFull, kindPartial:
	case kindLarge:
		return a.freeLarge(p, r, rel, from)
	default:
		return notAllocated(p)
	}
	cl, err := r.class()
	if err != nil {
		return err
	}
	i, ok := cl.index(rel)
	if !ok || p.slack() >= cl.slack {
		return notAllocated(p)
	}
	st := &a.stripes[cl.stripe]
	st.Lock()
	if a.closed.Load() {
		st.Unlock()
		return errClosed
	}
	w := &r.s.words[i>>6]
	used, bit := w.used.Load(), uint64(1)<<(i&63)
	if used&^w.freed.Load()&bit == 0 {
		st.Unlock()
		return notAllocated(p)
	}
	if a.guard != 0 {
		if err := a.fenced(p, r, cl, i); err != nil {
			st.Unlock()
			return err
		}
	}
	note := &a.notes[cl.stripe]
	note.begin(p, from)
	failpoint.Hit("dsa/free/intended")
	from.put(0)
	if a.guard != 0 {
		spoil(m.bytes[p.offset():][:cl.size-p.slack()])
	}
	if state = r.s.state.Load(); state&slotMask != uint64(a.slot+1) {
		err = a.freeOther(p, r, cl, i, from)
	} else {
		// Nobody else writes used, and this session does so under this stripe.
		store(&w.used, used&^bit)
		failpoint.Hit("dsa/free/unused")
		note.end(from)
		if h := &a.heaps[cl.id]; h.cur.s == r.s {
			h.word = min(h.word, i>>6)
		} else {
			err = a.roomIn(h, r, cl, i>>6)
		}
	}
	st.Unlock()
	return a.after(err)
}

// after is the end of a call that may have given a segment back, without a stripe.
func (a *Area) after(err error) error {
	if a.closed.Load() || a.head.returned.Load() == a.seen.Load() {
		return err
	}
	if serr := a.sweep(); err == nil {
		return serr
	}
	return err
}

// freeOther frees an object in a span that is not this session's. The first to do so in a full span makes it his.
func (a *Area) freeOther(p Pointer, r spanRef, cl *class, i int, from Place) error {
	note := &a.notes[cl.stripe]
	w, bit := &r.s.words[i>>6], uint64(1)<<(i&63)
	off := r.start() + uint64(i)*cl.size
	*first(r.m.bytes, off) = stamp(p)
	failpoint.Hit("dsa/free/stamped")
	store(&note.intent, uint64(p.withSlack(intentStamped)))
	failpoint.Hit("dsa/free/other")
	for freed := w.freed.Load(); ; freed = w.freed.Load() {
		if w.used.Load()&^freed&bit == 0 { // a double free, at the very same time
			note.end(from)
			return notAllocated(p)
		}
		if w.freed.CompareAndSwap(freed, freed|bit) {
			break
		}
	}
	failpoint.Hit("dsa/free/freed")
	note.end(from)
	// The span may be another one by now, if this was its last object. Then what follows finds
	// nothing to do, or does no harm.
	switch state := r.s.state.Load(); kindOf(state) {
	case kindFull:
		if int(r.s.class.Load()) != cl.id || !r.s.state.CompareAndSwap(state, moved(state, kindOwned, a.slot+1)) {
			return nil
		}
		failpoint.Hit("dsa/free/adopted")
		return a.adopted(r, cl)
	case kindPartial:
		if r.s.inWord(cl, i>>6) == 0 && r.s.empty(cl) {
			return a.dropPartial(r)
		}
	}
	return nil
}

// stamp is what an object bears while it is freed by a session that is not its span's.
func stamp(p Pointer) uint64 {
	x := (uint64(p.withSlack(0)) ^ 0x5be1_ac1e_57a3_9d4b) * 0x9e37_79b9_7f4a_7c15
	return x ^ x>>29 | 1
}

// dropPartial gives back a span that is nobody's, if it is one, and empty.
func (a *Area) dropPartial(r spanRef) error {
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return nil // it stays in its list
	}
	defer g.Unlock()
	if kindOf(r.s.state.Load()) != kindPartial {
		return nil
	}
	if cl, err := r.class(); err != nil || !r.s.empty(cl) {
		return err
	}
	if err := a.unlink(r); err != nil {
		return err
	}
	failpoint.Hit("dsa/span/dropped")
	return a.releaseRun(ctx, r)
}

// giveSpan makes a span that a session had to itself nobody's, under the lock: back to the
// chunks, full, or in the list of its class.
func (a *Area) giveSpan(ctx context.Context, r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	room := r.harvest(cl)
	if r.s.empty(cl) {
		return a.releaseRun(ctx, r)
	}
	state := r.s.state.Load()
	partial := moved(state, kindPartial, 0)
	if !room {
		full := moved(state, kindFull, 0)
		r.s.state.Store(full)
		failpoint.Hit("dsa/span/full")
		if !r.s.waiting(cl) || !r.s.state.CompareAndSwap(full, partial) {
			return nil
		}
	} else {
		r.s.state.Store(partial)
	}
	failpoint.Hit("dsa/span/partial")
	if err := a.link(r); err != nil { // a session that closes can't map the list's first span
		a.head.dirty.Store(1)
	}
	return nil
}

func (a *Area) freeLarge(p Pointer, r spanRef, rel uint64, from Place) error {
	if rel != 0 || p.slack() != 0 {
		return notAllocated(p)
	}
	st := &a.stripes[stripes-1]
	st.Lock()
	err := a.dropLarge(p, r, from)
	st.Unlock()
	return a.after(err)
}

func (a *Area) dropLarge(p Pointer, r spanRef, from Place) error {
	if a.closed.Load() {
		return errClosed
	}
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if kindOf(r.s.state.Load()) != kindLarge {
		return notAllocated(p)
	}
	if a.guard != 0 {
		n, size := uint64(r.s.chunks.Load())<<chunkShift, r.s.size.Load()
		if n > uint64(r.m.chunks-r.chunk)<<chunkShift || sealed(r.block(n), size) != nil {
			return fmt.Errorf("dsa: pointer %v, %d bytes: %w", p, size, ErrOverrun)
		}
	}
	note := &a.notes[stripes-1]
	note.begin(p, from)
	failpoint.Hit("dsa/large/freeing")
	from.put(0)
	err = a.releaseRun(ctx, r)
	failpoint.Hit("dsa/large/freed")
	note.end(from)
	return err
}

// Bytes are an object's, in place: as many as were asked for. They are valid until the object is
// freed or the area detached. A pointer without object is ErrPointer.
func (a *Area) Bytes(p Pointer) ([]byte, error) {
	m, chunk, rel, err := a.find(p)
	if err != nil {
		return nil, err
	}
	r := spanRef{m, chunk, &m.spans[chunk]}
	switch kindOf(r.s.state.Load()) {
	case kindOwned, kindFull, kindPartial:
		cl, err := r.class()
		if err != nil {
			return nil, err
		}
		i, ok := cl.index(rel)
		off := p.offset()
		if !ok || p.slack() >= cl.slack || !r.s.allocated(i) || off+cl.size > uint64(len(m.bytes)) {
			break
		}
		end := off + cl.size - p.slack()
		return m.bytes[off:end:end], nil
	case kindLarge:
		off, size := p.offset(), r.s.size.Load()
		if rel != 0 || p.slack() != 0 {
			break
		}
		if size > uint64(len(m.bytes))-off {
			return nil, corrupt("the object at %v has %d bytes", p, size)
		}
		return m.bytes[off : off+size : off+size], nil
	}
	return nil, notAllocated(p)
}
