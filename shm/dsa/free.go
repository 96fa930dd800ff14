package dsa

import (
	"cmp"
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
		debug.SetPanicOnFault(old)
		if !whole {
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
	err = a.free(p, from)
	whole = true
	return a.answer(err)
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

// fits reports whether an object in a block of that class can have the pointer p.
func (a *Area) fits(p Pointer, c *class) bool { return a.guard != 0 || p.slack() < c.slack }

// Bytes returns an object's, in place: as many as were asked for. They are valid until the object is
// freed or the area detached. A pointer that leads to no object is ErrPointer, as Free says.
func (a *Area) Bytes(p Pointer) (b []byte, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			b, err = nil, a.broken(recover())
		}
	}()
	b, err = a.bytes(p)
	if a.ends.Ended() {
		b, err = nil, errClosed
	}
	whole = true
	return b, err
}

// bytes is Bytes in a scope. It needs no stripe: if the segment is unmapped meanwhile there is no object.
func (a *Area) bytes(p Pointer) ([]byte, error) {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask || a.guard != 0 || a.head.returned.Load() != a.seen.Load() {
		return a.bytesAnew(p)
	}
	rel := p.offset() - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.spans)) {
		return nil, notAllocated(p)
	}
	s := &m.spans[at]
	c := s.class.Load()
	if kind := kindOf(s.state.Load()); kind < kindOwned || kind > kindPartial || c >= uint32(len(classes)) {
		return a.bytesAnew(p)
	}
	cl := &classes[c]
	i, ok := cl.index(rel & (chunkSize - 1))
	off, end := p.offset(), p.offset()+cl.size-p.slack()
	if !ok || p.slack() >= cl.slack || !s.allocated(i) || end > uint64(len(m.bytes)) {
		return a.bytesAnew(p)
	}
	return m.bytes[off:end:end], nil
}

// bytesAnew is bytes, for what is not in the first chunk of a span that is mapped, and for what bytes has doubts about.
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
