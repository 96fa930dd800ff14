package dsa

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// This file gives segments back to their source. A segment that has no object left is unpinned, and goes when the last
// process has unmapped it. Since a process unmaps it only when it calls this package, the others are asked to, after a
// while.

// returnEmptySegmentsLocked gives back all empty segments but the first, and tries again with those that could not be given back
// before. It goes on after an error, and returns all of them. The caller holds the area's lock.
func (a *Area) returnEmptySegmentsLocked(ctx context.Context) error {
	var errs []error
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		if state == rowGoing || state == rowLive && r.free.Load() == r.chunks.Load() {
			errs = append(errs, a.returnSegmentLocked(ctx, i))
		}
	}
	return errors.Join(errs...)
}

// returnSegmentLocked gives the segment of row i back, which is empty, or which a death has left on its way. The caller
// holds the area's lock. The others see from the header's count that a segment went back, and unmap it; this process
// does, as soon as it holds no stripe.
//
// The row says "going" before the segment is unpinned. A process that dies in between leaves a row that says so and a
// pin; the next holder of the lock, or Verify, comes here again and unpins. In the other order it would leave a live
// row whose segment may be gone. The life stays in the row when it is free, so the next segment has another one, and
// pointers into this one are refused.
//
// If the source refuses, the error is returned, and the row stays as it is.
func (a *Area) returnSegmentLocked(ctx context.Context, i int) error {
	r := &a.rows[i]
	state, life := rowOf(r.word.Load())
	if state == rowLive {
		size := a.segmentSize(i)
		r.word.Store(rowWord(rowGoing, life))
		failpoint.Hit("dsa/give/going")
		a.head.total.Add(-size)
		a.head.returned.Add(1)
		a.askOthersToUnmap()
	}
	if err := a.unpinSegmentLocked(ctx, i); err != nil {
		return err // the row stays as it is: Verify tries again
	}
	failpoint.Hit("dsa/give/unpinned")
	r.word.Store(rowWord(rowFree, life))
	return nil
}

// askDelay is how long a session waits for more segments to go back before it asks the others to unmap them: so a burst
// of segments is one question.
const askDelay = 20 * time.Millisecond

// ensureUnpinned ensures that the segment with that handle is not pinned. One that is not pinned, or is gone, is no error: a
// process that died may have unpinned it. It goes on after the end of ctx, since a pin that stays is a segment that
// stays.
func (a *Area) ensureUnpinned(ctx context.Context, handle uint64) error {
	err := a.source.Unpin(context.WithoutCancel(ctx), handle)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// returnForGrowth gives back the empty segments, none of which has a run of n chunks, if the limit then has room for a
// segment that has: so the area can grow by that. It reports whether any went. It takes the area's lock.
func (a *Area) returnForGrowth(ctx context.Context, n int) (gave bool, err error) {
	g, err := a.lockArea(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	empty, limit, total := a.emptySegmentBytesLocked(), a.head.limit.Load(), a.head.total.Load()
	if empty == 0 || limit > 0 && geometryOf(0, n).size > limit-min(limit, total-min(total, empty)) {
		return false, nil
	}
	return true, a.returnEmptySegmentsLocked(ctx)
}
