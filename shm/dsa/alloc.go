package dsa

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// Alloc allocates n bytes, aligned to 16, with any content. A size below 1 or above 32 GiB is
// ErrSize. It fails with what keeps the area from growing: ErrLimit, ErrFull, or the source's error.
func (a *Area) Alloc(n int) (Pointer, error) { return a.alloc(n, Place{}) }

func (a *Area) alloc(n int, into Place) (Pointer, error) {
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
	h := &a.heaps[c]
	for s := h.cur.s; s != nil; {
		for h.word < cl.words {
			used := s.words[h.word].used.Load()
			if used == ^uint64(0) {
				h.word++
				continue
			}
			bit := lowest(^used)
			if h.word<<6|bit >= cl.objects { // the bits beyond are always set, unless somebody wrote there
				st.Unlock()
				return 0, corrupt("the bitmap of span %d of segment %d is garbled", h.cur.chunk, h.cur.m.row)
			}
			off := h.cur.start() + uint64(h.word<<6|bit)*cl.size
			p := h.cur.m.tag | Pointer(off>>4)
			note := &a.notes[cl.stripe]
			note.begin(p, into)
			failpoint.Hit("dsa/alloc/intended")
			store(&s.words[h.word].used, used|1<<bit)
			failpoint.Hit("dsa/alloc/used")
			if a.guard != 0 {
				seal(h.cur.m.bytes[off:off+cl.size], uint64(n))
			}
			p |= Pointer(cl.size-uint64(n)) << slackShift
			into.put(p)
			note.end(into)
			st.Unlock()
			return p, nil
		}
		if !h.cur.harvest(cl) {
			break
		}
		h.word = 0
	}
	err := a.refill(h, c)
	st.Unlock()
	switch {
	case err == nil:
		return a.alloc(n, into)
	case cl.chunks > 1 && !a.closed.Load(): // a whole span is not to be had, perhaps its own chunks are
		return a.allocLarge(n, into)
	}
	return 0, fmt.Errorf("dsa: allocate %d bytes: %w", n, err)
}

// AllocZeroed is Alloc with all bytes zero.
func (a *Area) AllocZeroed(n int) (Pointer, error) {
	p, err := a.Alloc(n)
	if err != nil {
		return 0, err
	}
	b, err := a.Bytes(p)
	clear(b)
	return p, err
}

// takeSpan makes a span this session's.
func (a *Area) takeSpan(ctx context.Context, c int) (r spanRef, ok bool, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return r, false, err
	}
	defer g.Unlock()
	cl := &classes[c]
	for first := a.head.partial[c].Load(); first != 0; first = a.head.partial[c].Load() {
		if r, err = a.listed(first); err != nil {
			return r, false, err
		}
		if int(r.s.class.Load()) != c {
			return r, false, corrupt("a span of class %d is in the list of class %d", r.s.class.Load(), c)
		}
		if err := a.unlink(r); err != nil {
			return r, false, err
		}
		failpoint.Hit("dsa/span/unlinked")
		r.s.state.Store(moved(r.s.state.Load(), kindOwned, a.slot+1))
		failpoint.Hit("dsa/span/taken")
		if r.harvest(cl) {
			return r, true, nil
		}
		r.s.state.Store(moved(r.s.state.Load(), kindFull, 0))
	}
	if r, ok, err = a.makeRun(ctx, cl.chunks); !ok || err != nil {
		return r, false, err
	}
	r.s.class.Store(uint32(c))
	r.s.clear(cl)
	failpoint.Hit("dsa/span/cleared")
	r.s.state.Store(moved(r.s.state.Load(), kindOwned, a.slot+1) + lifeUnit)
	failpoint.Hit("dsa/span/made")
	return r, true, nil
}

// allocLarge gives an object chunks of its own.
func (a *Area) allocLarge(n int, into Place) (p Pointer, err error) {
	if n < 1 || uint64(n) > maxSegment {
		return 0, errkind.As(ErrSize,
			fmt.Errorf("dsa: allocate %d bytes: an object has from 1 to %d", n, uint64(maxSegment)))
	}
	chunks := int((uint64(n) + a.guard + chunkSize - 1) >> chunkShift)
	st := &a.stripes[stripes-1]
	st.Lock()
	defer st.Unlock()
	ctx := context.Background()
	err = errkind.As(ErrFull, fmt.Errorf("others took what the area grew by, %d times", maxTries))
	for range maxTries {
		if a.closed.Load() {
			return 0, errClosed
		}
		var ok bool
		var aerr error
		if p, ok, aerr = a.takeLarge(ctx, n, chunks, into); ok {
			return p, nil
		} else if aerr == nil {
			aerr = a.expand(ctx, chunks)
		}
		if aerr != nil {
			err = aerr
			break
		}
	}
	return 0, fmt.Errorf("dsa: allocate %d bytes: %w", n, err)
}

func (a *Area) takeLarge(ctx context.Context, n, chunks int, into Place) (p Pointer, ok bool, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return 0, false, err
	}
	defer g.Unlock()
	r, ok, err := a.makeRun(ctx, chunks)
	if !ok || err != nil {
		return 0, false, err
	}
	r.s.size.Store(uint64(n))
	p = r.m.tag | Pointer(r.start()>>4)
	note := &a.notes[stripes-1]
	note.begin(p, into)
	failpoint.Hit("dsa/large/intended")
	if a.guard != 0 {
		seal(r.block(uint64(chunks)<<chunkShift), uint64(n))
	}
	r.s.state.Store(moved(r.s.state.Load(), kindLarge, 0) + lifeUnit)
	failpoint.Hit("dsa/large/made")
	into.put(p)
	note.end(into)
	return p, true, nil
}

// block is the first n bytes of the run.
func (r spanRef) block(n uint64) []byte { return r.m.bytes[r.start() : r.start()+n] }
