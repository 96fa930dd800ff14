package dsa

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// This file holds objects that have chunks of their own: those of more than 256 KiB, and smaller ones for which no
// whole span could be found. The head of their run has their size. They are allocated and freed under the area's lock
// and the last stripe: to fill so many bytes takes far longer than the lock.

// allocLarge allocates an object in chunks of its own, and has into own it. A size below 1 or above 32 GiB is ErrSize.
// The caller has no stripe. It waits as getWithLock does.
func (a *Area) allocLarge(n int, into Place) (p Pointer, err error) {
	if n < 1 || uint64(n) > maxSegment {
		return 0, errkind.As(ErrSize,
			fmt.Errorf("dsa: allocate %d bytes: an object has from 1 to %d", n, uint64(maxSegment)))
	}
	chunks := int((uint64(n) + a.guard + chunkSize - 1) >> chunkShift)
	err = a.contained(func() error {
		return a.withStripe(func() error {
			return a.getWithLock(-1, chunks, func(ctx context.Context) (ok bool, err error) {
				p, ok, err = a.takeLargeLocked(ctx, n, chunks, into)
				return ok, err
			})
		})
	})
	if err = a.orClosed(err); err != nil {
		return 0, fmt.Errorf("dsa: allocate %d bytes: %w", n, err)
	}
	return p, nil
}

// takeLargeLocked allocates an object of n bytes in a run of so many chunks; ok is false if no segment has them. The
// caller holds the area's lock and the last stripe.
//
// Size and guard bytes come before the state, which makes the object: a process that finds the state finds them. The
// note comes before the state too, so recovery frees an object whose pointer no caller has. It is struck before the
// lock is given back, so recovery never meets it beside another object in the same chunks. If the area has ended by
// then, the chunks are given back here.
func (a *Area) takeLargeLocked(ctx context.Context, n, chunks int, into Place) (p Pointer, ok bool, err error) {
	r, ok, err := a.makeRunLocked(ctx, chunks)
	if !ok || err != nil {
		return 0, false, err
	}
	r.s.size.Store(uint64(n))
	p = r.m.tag | Pointer(r.start()>>4)
	st := &a.stripes[stripes-1]
	st.note.begin(p, into, a.swaps)
	failpoint.Hit("dsa/large/intended")
	if a.guard != 0 {
		p = p.withSlack(writeGuardBytes(r.run(uint64(chunks)<<chunkShift), uint64(n)))
	}
	r.s.state.Store(withKind(r.s.state.Load(), kindLarge, 0) + lifeUnit)
	failpoint.Hit("dsa/large/made")
	if a.ends.Ended() {
		err = a.releaseRunLocked(ctx, r)
		st.endNote(into)
		return 0, false, errors.Join(errClosed, err)
	}
	into.put(p)
	st.endNote(into)
	return p, true, nil
}

// freeLarge frees the object p, whose run find has found, and unlocks the last stripe, which find has locked. A pointer
// into the middle of the object is ErrPointer. A fault is an error.
func (a *Area) freeLarge(p Pointer, r spanRef, rel uint64, from Place) error {
	err := a.contained(func() error {
		defer a.stripes[stripes-1].Unlock()
		if rel != 0 {
			return notAllocated(p)
		}
		return a.releaseLarge(p, r, from)
	})
	return a.unmapAfter(err)
}

// releaseLarge frees a large object under the area's lock, which it takes. The caller has the last stripe. Another
// session may have freed the object before the lock was taken: so the state is loaded again under it. In checked mode
// guard bytes that were written over are ErrOverrun, and the object stays. The note is struck before the lock is given
// back, for the reason that takeLargeLocked has.
func (a *Area) releaseLarge(p Pointer, r spanRef, from Place) error {
	ctx := context.Background()
	g, err := a.lockArea(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if stateKind(r.s.state.Load()) != kindLarge {
		return notAllocated(p)
	}
	_, err = a.largeBytes(p, r)
	if err == nil && a.guard != 0 {
		_, err = readGuardBytes(r.run(uint64(r.s.chunks.Load()) << chunkShift))
	}
	if err != nil {
		return err
	}
	st := &a.stripes[stripes-1]
	st.note.begin(p, from, a.swaps)
	failpoint.Hit("dsa/large/freeing")
	from.put(0)
	st.countFreed()
	err = a.dirtyIfCorruptLocked(a.releaseRunLocked(ctx, r))
	failpoint.Hit("dsa/large/freed")
	st.endNote(from)
	return err
}

// largeBytes returns the bytes of the large object that begins at r. It needs no lock. It refuses, with ErrCorrupt, a
// run that would reach behind the segment's end, and a size of 0 or one for which the run has no room: so the slice is
// inside the segment. A pointer with slack is ErrPointer, since large objects have none. In checked mode the size
// behind the object must be the same as the one in the span.
func (a *Area) largeBytes(p Pointer, r spanRef) ([]byte, error) {
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
