package dsa

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// live makes a row that of a formatted segment.
func (r *row) live(chunks, life int) {
	r.chunks.Store(uint32(chunks))
	r.free.Store(uint32(chunks))
	r.longest.Store(uint32(chunks))
	r.low.Store(0)
	r.word.Store(rowWord(rowLive, life))
}

func (a *Area) sizeOf(i int) uint64 {
	start := uint64(0)
	if i == 0 {
		start = firstSegment(len(a.slots))
	}
	return geometryOf(start, int(a.rows[i].chunks.Load())).size
}

// emptyBytes is the size of all segments that nothing is in, but the first.
func (a *Area) emptyBytes() (n uint64) {
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		if state, _ := rowOf(r.word.Load()); state == rowLive && r.free.Load() == r.chunks.Load() {
			n += a.sizeOf(i)
		}
	}
	return n
}

// expand makes room for a run of n chunks: what dead sessions held, else a new segment. The lock is not held while
// the system makes it, so others go on; who needs one too waits. The room may be gone again when the caller comes.
func (a *Area) expand(ctx context.Context, n int) error {
	grow, err := lockOrWait(ctx, a.grow, a.ends.View)
	if err != nil {
		return fmt.Errorf("dsa: the lock for growth: %w", err)
	}
	defer grow.Unlock()
	grow.MarkConsistent() // it guards rows on the way only, which the area's lock repairs
	i, chunks, err := a.plan(ctx, n)
	if err != nil || chunks == 0 {
		return err
	}
	seg, chunks, err := a.newSegment(ctx, n, chunks)
	if err != nil {
		return err
	}
	failpoint.Hit("dsa/grow/created")
	err = seg.With(func(b []byte) error { return a.addSegment(ctx, b, seg, i, chunks) })
	if err != nil {
		return errors.Join(err, seg.Detach())
	}
	return nil
}

// plan chooses the row and size of the next segment; 0 chunks: none is needed.
func (a *Area) plan(ctx context.Context, n int) (free, chunks int, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer g.Unlock()
	if dead, err := a.recoverDead(ctx); err != nil || dead > 0 {
		return 0, 0, err
	}
	live := 0
	free = -1
	for k := range a.rows {
		i := (int(a.head.next.Load()) + k) % len(a.rows)
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		switch {
		case state == rowFree && free < 0 && i > 0:
			free = i
		case state != rowFree:
			live++
		}
		if state == rowLive && int(r.free.Load()) >= n && int(r.longest.Load()) >= n {
			if m, err := a.mapRow(ctx, i); lost(err) {
				continue
			} else if err != nil {
				return 0, 0, err
			} else if _, ok := m.findRun(0, n); ok {
				return 0, 0, nil // somebody has been here before
			}
		}
	}
	switch {
	case a.source == nil:
		return 0, 0, errkind.As(ErrFull,
			errors.New("dsa: the area is full, and has no source of segments to grow from"))
	case free < 0:
		return 0, 0, errkind.As(ErrFull,
			fmt.Errorf("dsa: all %d segments that an area can have are in use: "+
				"begin with a larger one (Options.Initial)", maxRows))
	}
	a.head.next.Store(uint32(free + 1))
	chunks = int(min(uint64(a.head.initial.Load())<<min(live/2, 24), a.head.largest.Load(), maxSegment/chunkSize))
	return free, max(chunks, n), nil
}

// newSegment makes a segment of so many chunks or, if that can't be had, of what is needed.
func (a *Area) newSegment(ctx context.Context, need, chunks int) (Segment, int, error) {
	seg, err := a.trySegment(ctx, chunks)
	if err != nil && chunks > need && ctx.Err() == nil {
		chunks = need
		seg, err = a.trySegment(ctx, chunks)
	}
	return seg, chunks, err
}

func (a *Area) trySegment(ctx context.Context, chunks int) (Segment, error) {
	size := geometryOf(0, chunks).size
	if size > maxSegment || size > math.MaxInt {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("dsa: a segment of %d bytes is more than the %d that one can have", size, uint64(maxSegment)))
	}
	if limit, total := a.head.limit.Load(), a.head.total.Load(); limit > 0 && (total > limit || size > limit-total) {
		return nil, errkind.As(ErrLimit,
			fmt.Errorf("dsa: %d bytes more would exceed the area's limit of %d, of which %d are in use (SetLimit)",
				size, limit, total))
	}
	seg, err := a.source.Create(ctx, int(size))
	if err != nil {
		return nil, fmt.Errorf("dsa: a segment of %d bytes: %w", size, err)
	}
	return seg, nil
}

// addSegment pins a new segment and writes it into its row: from "coming" on, a death leaves it
// to who repairs, before that, to its source.
func (a *Area) addSegment(ctx context.Context, b []byte, seg Segment, i, chunks int) error {
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	r := &a.rows[i]
	_, life := rowOf(r.word.Load())
	life = life%maxLife + 1
	size := geometryOf(0, chunks).size
	m, err := a.format(b, seg, geometryOf(0, chunks), i, life)
	if err != nil {
		return err
	}
	r.handle.Store(seg.Handle())
	failpoint.Hit("dsa/grow/handle")
	r.word.Store(rowWord(rowComing, life))
	failpoint.Hit("dsa/grow/coming")
	if err := seg.Pin(ctx); err != nil {
		r.word.Store(rowWord(rowFree, life))
		return fmt.Errorf("dsa: keep a segment: %w", err)
	}
	failpoint.Hit("dsa/grow/pinned")
	r.live(chunks, life)
	failpoint.Hit("dsa/grow/live")
	a.head.total.Add(size)
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	return a.install(m)
}

// giveSegment gives an empty segment back, under the lock. The others see it by the count, and
// unmap it; this process does, as soon as it holds no stripe.
func (a *Area) giveSegment(ctx context.Context, i int) error {
	r := &a.rows[i]
	state, life := rowOf(r.word.Load())
	if state == rowLive {
		size := a.sizeOf(i)
		r.word.Store(rowWord(rowGoing, life))
		failpoint.Hit("dsa/give/going")
		a.head.total.Add(-size)
		a.head.returned.Add(1)
	}
	if err := a.unpin(ctx, i); err != nil {
		return err // the row stays as it is: Verify tries again
	}
	failpoint.Hit("dsa/give/unpinned")
	r.word.Store(rowWord(rowFree, life))
	return nil
}

func (a *Area) unpin(ctx context.Context, i int) error {
	if a.source == nil {
		return corrupt("segment %d has no source", i)
	}
	if err := a.unpinned(ctx, a.rows[i].handle.Load()); err != nil {
		return fmt.Errorf("dsa: give segment %d back: %w", i, err)
	}
	return nil
}

// unpinned sees to it that the segment with that handle is not pinned.
func (a *Area) unpinned(ctx context.Context, handle uint64) error {
	err := a.source.Unpin(context.WithoutCancel(ctx), handle)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
