package dsa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// giveEmptyLocked gives back all empty segments but the first, and tries again with those that could not be.
// The caller holds the area's lock.
func (a *Area) giveEmptyLocked(ctx context.Context) error {
	var errs []error
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		state, _ := rowOf(r.word.Load())
		if state == rowGoing || state == rowLive && r.free.Load() == r.chunks.Load() {
			errs = append(errs, a.giveSegmentLocked(ctx, i))
		}
	}
	return errors.Join(errs...)
}

// emptyBytesLocked returns the size of all segments that nothing is in, but the first.
// The caller holds the area's lock.
func (a *Area) emptyBytesLocked() (n uint64) {
	for i := 1; i < len(a.rows); i++ {
		r := &a.rows[i]
		if state, _ := rowOf(r.word.Load()); state == rowLive && r.free.Load() == r.chunks.Load() {
			n += a.sizeOf(i)
		}
	}
	return n
}

// giveSegmentLocked gives an empty segment back, under the lock. The others see it by the count, and
// unmap it; this process does, as soon as it holds no stripe.
func (a *Area) giveSegmentLocked(ctx context.Context, i int) error {
	r := &a.rows[i]
	state, life := rowOf(r.word.Load())
	if state == rowLive {
		size := a.sizeOf(i)
		r.word.Store(rowWord(rowGoing, life))
		failpoint.Hit("dsa/give/going")
		a.head.total.Add(-size)
		a.head.returned.Add(1)
		a.askOthers()
	}
	if err := a.unpinLocked(ctx, i); err != nil {
		return err // the row stays as it is: Verify tries again
	}
	failpoint.Hit("dsa/give/unpinned")
	r.word.Store(rowWord(rowFree, life))
	return nil
}

// askDelay is how long a session waits for more segments to go back before it asks the others to unmap them.
const askDelay = 20 * time.Millisecond

// askOthers has the other sessions asked soon to unmap what went back. Those that use the area do it anyway; one that is
// idle would keep the memory.
func (a *Area) askOthers() {
	if a.self.Ask == nil || a.asking.Swap(true) {
		return
	}
	time.AfterFunc(askDelay, func() {
		_ = a.contained(func() error {
			return a.striped(func() error {
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

// unpinLocked unpins the segment of row i. The caller holds the area's lock.
func (a *Area) unpinLocked(ctx context.Context, i int) error {
	if a.source == nil {
		return corrupt("segment %d has no source", i)
	}
	if err := a.unpinned(ctx, a.rows[i].handle.Load()); err != nil {
		return fmt.Errorf("dsa: give segment %d back: %w", i, err)
	}
	return nil
}

// unpinned ensures that the segment with that handle is not pinned.
func (a *Area) unpinned(ctx context.Context, handle uint64) error {
	err := a.source.Unpin(context.WithoutCancel(ctx), handle)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// giveForGrowth gives the empty segments back in which there is no run of n chunks, if an object needs more: so the area
// can grow by one. It reports whether any went.
func (a *Area) giveForGrowth(ctx context.Context, n int) (gave bool, err error) {
	g, err := a.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer g.Unlock()
	empty, limit, total := a.emptyBytesLocked(), a.head.limit.Load(), a.head.total.Load()
	if empty == 0 || limit > 0 && geometryOf(0, n).size > limit-min(limit, total-min(total, empty)) {
		return false, nil
	}
	return true, a.giveEmptyLocked(ctx)
}
