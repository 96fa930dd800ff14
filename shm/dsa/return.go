package dsa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
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

// emptySegmentBytesLocked returns how many bytes all segments have in which there is nothing, without the first, which never
// goes. The caller holds the area's lock.
func (a *Area) emptySegmentBytesLocked() (n uint64) {
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		if state, _ := rowOf(r.word.Load()); state == rowLive && r.free.Load() == r.chunks.Load() {
			n += a.segmentSize(i)
		}
	}
	return n
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

// askOthersToUnmap has the other sessions asked soon to unmap what went back. Those that use the area do it anyway; one that
// is idle would keep the memory. It does not block: a timer asks, unless one runs already. A session that dies before
// its timer has fired asks none, so an idle session keeps the memory until another segment goes back. What the timer
// reads, it reads under a stripe: Detach waits for it, or it finds the end and does nothing.
func (a *Area) askOthersToUnmap() {
	if a.self.Ask == nil || a.asking.Swap(true) {
		return
	}
	time.AfterFunc(askDelay, func() {
		_ = a.contained(func() error {
			return a.withStripe(func() error {
				a.asking.Store(false)
				if a.ends.Ended() {
					return errClosed
				}
				now := uint32(a.head.returned.Load())
				for i := range a.slots {
					w := a.slots[i].peer.Load()
					if w != 0 && i != a.slot && a.slots[i].seen.Load() != now {
						a.self.Ask(shmsync.PeerOf(w))
					}
				}
				return nil
			})
		})
	})
}

// unpinSegmentLocked unpins the segment of row i, by the handle in the row. Without a source it returns ErrCorrupt: no segment
// can have been added to such an area. It blocks as the source's Unpin does. The caller holds the area's lock.
func (a *Area) unpinSegmentLocked(ctx context.Context, i int) error {
	if a.source == nil {
		return corrupt("segment %d has no source", i)
	}
	if err := a.ensureUnpinned(ctx, a.rows[i].handle.Load()); err != nil {
		return fmt.Errorf("dsa: give segment %d back: %w", i, err)
	}
	return nil
}

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
