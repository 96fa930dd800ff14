package dshash

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// destroy empties the partitions one after the other, so that what is left is a table at any time, and frees the
// table's object last. It waits for each partition until ctx is over. A process that dies in it leaves a table with
// less in it, which another Destroy frees; if it dies in the last step, the area's recovery finishes that.
func (t *core) destroy(ctx context.Context) error {
	for i := range t.parts {
		if err := t.destroyPart(ctx, i); err != nil {
			return err
		}
	}
	failpoint.Hit("dshash/destroy/emptied")
	if err := t.contained(func() error { return t.freeReserve(ctx) }); err != nil {
		return t.orClosed(err)
	}
	return t.orClosed(t.contained(func() error {
		// The word self owns the object that it is in. Once it is cleared, Attach no longer finds a table there.
		self, err := t.area.Place(t.handle, selfAt)
		if err != nil {
			return err
		}
		return t.area.FreeFrom(self)
	}))
}

// destroyPart empties partition i with its lock held exclusively.
func (t *core) destroyPart(ctx context.Context, i int) error {
	return t.withPartLock(ctx, i, true, func() error { return t.clearPartLocked(i) })
}

// clearPartLocked frees all that partition i has, and leaves it as one that never had an entry. The caller holds the
// partition's lock exclusively. Items of an array that is none are lost to the program, since nothing leads to them.
// If it fails the partition has fewer entries, and is whole or marked.
func (t *core) clearPartLocked(i int) error {
	p, hand := &t.parts[i], t.local[i].hands[0]
	if err := t.emptyHands(i); err != nil {
		return err
	}
	v, err := t.lockedView(i)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		v = &nothing
	}
	p.raiseVersion()
	for _, ls := range [][]line{v.oldLines(), v.lines} {
		for k := range ls {
			for slot := range ls[k].slots {
				w := &ls[k].slots[slot]
				at := dsa.Pointer(w.Load())
				if at == 0 {
					continue
				}
				// As in entry.unlink: the hand has the item before the slot forgets it, and a repair frees it from
				// there.
				hand.Set(at)
				ordered.Store64(w, 0)
				failpoint.Hit("dshash/destroy/unlinked")
				if err := t.emptyHand(i, 0); err != nil {
					// Tags and count do not fit the slots any more.
					p.dirty.Store(1)
					return err
				}
			}
		}
	}
	ordered.Store64(&p.count, 0)
	if err := t.freePlace(t.local[i].next); err != nil {
		return err
	}
	failpoint.Hit("dshash/destroy/next")
	for _, w := range []*atomic.Uint64{&p.old, &p.array} {
		// What was cleared above may be private pages. In the bytes that others have the array may still lead to
		// entries.
		if t.ends.Ended() {
			return errClosed
		}
		// The hand has the array before the word forgets it. A process that dies here leaves it in both, and the
		// repair clears the hand; one that dies after the store of the word leaves it to the hand, and the repair
		// frees it.
		hand.Set(dsa.Pointer(w.Load()))
		failpoint.Hit("dshash/destroy/array")
		p.beginRebuild()
		ordered.Store64(w, 0)
		p.endRebuild()
		failpoint.Hit("dshash/destroy/bare")
		if err := t.emptyHand(i, 0); err != nil {
			return err
		}
	}
	return nil
}
