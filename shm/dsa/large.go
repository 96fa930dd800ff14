package dsa

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// allocLarge gives an object chunks of its own.
func (a *Area) allocLarge(n int, into Place) (p Pointer, err error) {
	if n < 1 || uint64(n) > maxSegment {
		return 0, errkind.As(ErrSize,
			fmt.Errorf("dsa: allocate %d bytes: an object has from 1 to %d", n, uint64(maxSegment)))
	}
	chunks := int((uint64(n) + a.guard + chunkSize - 1) >> chunkShift)
	err = a.contained(func() error {
		return a.striped(func() error {
			return a.lockAndGet(-1, chunks, func(ctx context.Context) (ok bool, err error) {
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
	r, ok, err := a.makeRunLocked(ctx, chunks)
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
		err = a.releaseRunLocked(ctx, r)
		st.end(note, into)
		return 0, false, errors.Join(errClosed, err)
	}
	into.put(p)
	st.end(note, into)
	return p, true, nil
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
	err = a.doubtedLocked(a.releaseRunLocked(ctx, r))
	failpoint.Hit("dsa/large/freed")
	st.end(note, from)
	return err
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
