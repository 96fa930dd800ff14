package dsa

import (
	"cmp"
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
)

// Free frees an object, whichever session allocated it. A pointer that leads to no object is ErrPointer; one that was
// kept while its block got another object is so in checked mode only: in normal mode that object is freed. In checked mode
// an object past whose end something was written is ErrOverrun, and stays allocated.
func (a *Area) Free(p Pointer) error { return a.free(p, Place{}) }

// freeCarefully is Free in a scope: a fault leaves no stripe locked. There is none but under that of p's chunk, which
// is remembered there as long as it is locked. The pointer that a place owns is read in the scope, too.
func (a *Area) freeCarefully(p Pointer, from Place) (err error) {
	if a.head == nil { // the zero Area
		return errClosed
	}
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			if m := a.maps[p.row()].Load(); m != nil {
				if at := (p.offset() - m.data) >> chunkShift; at < uint64(len(m.stripe)) {
					a.stripes[m.stripe[at].Load()].Unlock()
				}
			}
			err = a.broken(recover())
		}
	}()
	if from.word != nil {
		p = from.Pointer()
	}
	err = a.answer(a.free(p, from))
	debug.SetPanicOnFault(old)
	whole = true
	return err
}

func (a *Area) free(p Pointer, from Place) error {
	if (a.careful || scope.Running()) && from == (Place{}) {
		return a.freeCarefully(p, nowhere)
	}
	r, rel, cl, err := a.find(p)
	if err != nil {
		return err
	}
	if cl == nil {
		return a.freeLarge(p, r, rel, from)
	}
	st := &a.stripes[cl.stripe]
	i, ok := cl.index(rel)
	if !ok || !a.fits(p, cl) {
		st.Unlock()
		return a.answer(notAllocated(p))
	}
	w := &r.s.words[i>>6]
	used, bit := w.used.Load(), uint64(1)<<(i&63)
	if used&^w.freed.Load()&bit == 0 {
		st.Unlock()
		return a.answer(notAllocated(p))
	}
	size := uint64(0)
	if a.guard != 0 {
		if size, err = fenced(p, r.block(cl, i)); err != nil {
			st.Unlock()
			return a.answer(err)
		}
	}
	note := &a.notes[cl.stripe]
	note.begin(p, from, a.swaps)
	failpoint.Hit("dsa/free/intended")
	from.put(0)
	if a.guard != 0 {
		spoil(r.block(cl, i)[:size])
	}
	st.freed++
	if state := r.s.state.Load(); state&(kindMask|slotMask) != kindOwned|uint64(a.slot+1) {
		err = a.freeOther(p, r, cl, i, from)
	} else {
		// Nobody else writes used, and this session does so under this stripe; who takes the span sees the note first.
		store(&w.used, used&^bit)
		failpoint.Hit("dsa/free/unused")
		st.end(note, from)
		if h := &a.heaps[cl.id]; h.cur.s != r.s {
			err = a.roomIn(h, held{r, state}, cl, i>>6)
		} else if h.word = min(h.word, i>>6); len(h.room) > 0 && r.s.inWord(cl, i>>6) == 0 && r.s.empty(cl) {
			err = a.curEmptied(h)
		}
	}
	stale := a.head.returned.Load() != a.seen.Load()
	st.Unlock()
	if stale {
		return a.after(err)
	}
	return a.answer(err)
}

// after is the end of a call that may have given a segment back, without a stripe. It returns err or, once the area has
// ended, ErrClosed.
func (a *Area) after(err error) error {
	serr := a.contained(func() error {
		if a.head.returned.Load() == a.seen.Load() {
			return nil
		}
		return a.sweep()
	})
	return a.answer(cmp.Or(err, serr))
}

// freeOther frees an object in a span that is not this session's. The first session to do so in a full span makes it its own
// or, as long as it shares spans of that class, nobody's with room.
func (a *Area) freeOther(p Pointer, r spanRef, cl *class, i int, from Place) error {
	st, note := &a.stripes[cl.stripe], &a.notes[cl.stripe]
	w, bit := &r.s.words[i>>6], uint64(1)<<(i&63)
	off := r.start() + uint64(i)*cl.size
	*first(r.m.bytes, off) = stamp(p)
	failpoint.Hit("dsa/free/stamped")
	store(&note.intent, uint64(p.withSlack(intentStamped)))
	failpoint.Hit("dsa/free/other")
	for freed := w.freed.Load(); ; freed = w.freed.Load() {
		if w.used.Load()&^freed&bit == 0 { // a double free, at the very same time
			st.end(note, from)
			return notAllocated(p)
		}
		if w.freed.CompareAndSwap(freed, freed|bit) {
			break
		}
	}
	failpoint.Hit("dsa/free/freed")
	st.end(note, from)
	// The span may be another one by now, if this was its last object. Then what follows finds
	// nothing to do, or does no harm.
	switch state := r.s.state.Load(); kindOf(state) {
	case kindFull:
		if a.heaps[cl.id].shares(cl) {
			return a.tidied(r, cl)
		}
		h := held{r, moved(state, kindOwned, a.slot+1) + lifeUnit}
		if int(r.s.class.Load()) != cl.id || !r.s.state.CompareAndSwap(state, h.state) {
			return nil
		}
		failpoint.Hit("dsa/free/adopted")
		return a.adopted(h, cl)
	case kindPartial:
		if r.s.inWord(cl, i>>6) == 0 && r.s.empty(cl) {
			return a.tidied(r, cl)
		}
	}
	return nil
}

// stamp returns what an object bears while it is freed by a session that is not its span's.
func stamp(p Pointer) uint64 {
	x := (uint64(p.withSlack(0)) ^ 0x5be1_ac1e_57a3_9d4b) * 0x9e37_79b9_7f4a_7c15
	return x ^ x>>29 | 1
}

// giveSpan makes a span nobody's that a session has to itself, under the lock, and under the class's stripe unless the
// session is dead. One that it has no longer is left alone: so none is given twice.
func (a *Area) giveSpan(ctx context.Context, r held) error {
	if !r.s.state.CompareAndSwap(r.state, moved(r.state, kindContested, 0)) {
		return nil
	}
	failpoint.Hit("dsa/span/given")
	return a.settleSpan(ctx, r.spanRef)
}

// settleSpan puts a contested span in which no session is at work where it belongs, under the lock: back to the chunks,
// full, or in the list of its class.
func (a *Area) settleSpan(ctx context.Context, r spanRef) error {
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
	err := a.contained(func() error {
		defer a.stripes[stripes-1].Unlock()
		if rel != 0 {
			return notAllocated(p)
		}
		return a.dropLarge(p, r, from)
	})
	return a.after(err)
}

func (a *Area) dropLarge(p Pointer, r spanRef, from Place) error {
	ctx := context.Background()
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if kindOf(r.s.state.Load()) != kindLarge {
		return notAllocated(p)
	}
	_, err = a.large(p, r)
	if err == nil && a.guard != 0 {
		_, err = sealed(r.run(uint64(r.s.chunks.Load()) << chunkShift))
	}
	if err != nil {
		return err
	}
	st, note := &a.stripes[stripes-1], &a.notes[stripes-1]
	note.begin(p, from, a.swaps)
	failpoint.Hit("dsa/large/freeing")
	from.put(0)
	st.freed++
	err = a.doubted(a.releaseRun(ctx, r))
	failpoint.Hit("dsa/large/freed")
	st.end(note, from)
	return err
}

// fits reports whether an object in a block of that class can have the pointer p.
func (a *Area) fits(p Pointer, c *class) bool { return a.guard != 0 || p.slack() < c.slack }

// Bytes returns an object's, in place: as many as were asked for. They are valid until the object is
// freed or the area detached. A pointer that leads to no object is ErrPointer, as Free says.
func (a *Area) Bytes(p Pointer) (b []byte, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			b, err = nil, a.broken(recover())
		}
	}()
	// The scope ends before the deferred function runs, which has something to do after a panic only.
	if b = a.blockAt(p); b == nil {
		b, err = a.bytesAnew(p)
	}
	if a.ends.Ended() {
		b, err = nil, errClosed
	}
	debug.SetPanicOnFault(old)
	whole = true
	return b, err
}

// blockAt returns the bytes of the object p, if it is in the first chunk of a span that is mapped and there is no doubt
// about it; else nothing. It needs no stripe: if the segment is unmapped meanwhile there is no object.
func (a *Area) blockAt(p Pointer) []byte {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask || a.guard != 0 || a.head.returned.Load() != a.seen.Load() {
		return nil
	}
	off := p.offset()
	rel := off - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.spans)) {
		return nil
	}
	s := &m.spans[at]
	c := s.class.Load()
	if kind := kindOf(s.state.Load()); kind-kindOwned > kindPartial-kindOwned || c >= uint32(len(classes)) {
		return nil
	}
	cl := &classes[c]
	rel &= chunkSize - 1
	i := rel * cl.inverse >> 40
	if i*cl.size != rel || i >= uint64(cl.objects) || p.slack() >= cl.slack {
		return nil
	}
	// The words above may be of different moments, and whatever others have stored there: so the block must be allocated,
	// and what is returned lies in the segment's bytes. The mask bounds what the compiler can't: no class has more than
	// 4,096 blocks.
	pair := &s.words[i>>6&63]
	end := off + cl.size - p.slack()
	if (pair.used.Load()&^pair.freed.Load())>>(i&63)&1 == 0 || end > uint64(len(m.bytes)) {
		return nil
	}
	return m.bytes[off:end:end]
}

// bytesAnew is Bytes, in its scope, for what blockAt knows nothing of.
func (a *Area) bytesAnew(p Pointer) ([]byte, error) {
	if a.head.returned.Load() != a.seen.Load() {
		if err := a.sweep(); err != nil {
			return nil, err
		}
	}
	m, at, err := a.chunkOf(p)
	if err != nil {
		return nil, err
	}
	r, rel, cl, err := m.lead(p, at)
	if err != nil {
		return nil, err
	}
	if cl == nil {
		if rel != 0 {
			return nil, notAllocated(p)
		}
		return a.large(p, r)
	}
	return a.blockBytes(p, r, cl, rel)
}

// blockBytes returns the bytes of the object at rel in a span of that class.
func (a *Area) blockBytes(p Pointer, r spanRef, cl *class, rel uint64) ([]byte, error) {
	i, ok := cl.index(rel)
	if !ok || !a.fits(p, cl) || !r.s.allocated(i) {
		return nil, notAllocated(p)
	}
	block := r.block(cl, i)
	n := cl.size - p.slack()
	if a.guard != 0 {
		var err error
		if n, err = sizeOf(p, block); err != nil {
			return nil, err
		}
	}
	return block[:n:n], nil
}

// large returns the bytes of the large object that begins at r.
func (a *Area) large(p Pointer, r spanRef) ([]byte, error) {
	n, size := uint64(r.s.chunks.Load())<<chunkShift, r.s.size.Load()
	switch {
	case n > uint64(r.m.chunks-r.chunk)<<chunkShift || size < 1 || size > n-min(n, a.guard):
		return nil, corrupt("the object at %v has %d bytes in a run of %d", p, size, n)
	case a.guard == 0 && p.slack() != 0:
		return nil, notAllocated(p)
	case a.guard != 0:
		if sealedSize, err := sizeOf(p, r.run(n)); err != nil || sealedSize != size {
			return nil, cmp.Or(err, corrupt("the object at %v has %d bytes, and %d behind its end", p, size, sealedSize))
		}
	}
	return r.run(n)[:size:size], nil
}
