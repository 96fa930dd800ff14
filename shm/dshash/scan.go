package dshash

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// The walk through all entries, and Destroy, which is one too.
//
// A scan takes one partition's lock after the other and keeps it while the caller's function runs for the partition's
// entries. So what is in one partition is seen at one moment; what is in two may be of different ones. Entries that
// the function changes or deletes make no step of a change of arrays: so nothing moves under the scan, and each entry
// comes once.

// scan holds the entries in e, one after the other, until yield returns false. It waits for each partition's lock
// until ctx is over. If it fails, the partitions before have been scanned, and no lock is held.
func (t *core) scan(ctx context.Context, exclusive bool, e *entry, yield func() bool) error {
	for i := range t.parts {
		if on, err := t.scanPart(ctx, i, exclusive, e, yield); !on || err != nil {
			return err
		}
	}
	return nil
}

// scanPart scans partition i, and reports whether to go on with the next. The function yield runs outside of any
// scope of this package, so a fault or another panic in it is the caller's; the lock is given back then.
func (t *core) scanPart(ctx context.Context, i int, exclusive bool, e *entry, yield func() bool) (on bool, err error) {
	var held entry // has the lock; e only what is yielded
	defer held.unlock()
	var v *view
	err = t.within(&held, func() (err error) {
		// The partition was empty at this moment. Asking for that needs no lock.
		if t.parts[i].array.Load() == 0 {
			return nil // nothing was there at this moment
		}
		if err = t.lock(ctx, i, exclusive, &held); err == nil {
			v, err = t.lines(i)
		}
		return err
	})
	if err != nil || v == nil {
		return err == nil, err
	}
	// The entries that are yielded have a local of their own: their release commits, and keeps the lock.
	l := &local{t: t, i: i, hands: t.local[i].hands, scan: true}
	// Nothing moves while the lock is held.
	for _, ls := range [][]line{v.old(), v.lines} {
		for k := range ls {
			for slot := range ls[k].slots {
				if err := t.within(&held, func() error { return t.scanned(l, &held, ls, k, slot, e) }); err != nil {
					return false, err
				}
				if e.l == nil {
					continue
				}
				on := yield()
				e.release()
				if !on {
					return false, nil
				}
			}
		}
	}
	return true, t.within(&held, func() error {
		if exclusive {
			t.tidy(i)
		}
		return nil
	})
}

// tidy replaces the array of partition i by a smaller one, after an exclusive scan, if it is sparse. It need not
// succeed; what it finds garbled marks the partition. The caller holds the partition's lock exclusively.
func (t *core) tidy(i int) {
	// Once for a change that has begun already, and once for one that begins here.
	for range 2 {
		t.tend(i)
		if err := t.settleArrays(i); errors.Is(err, ErrCorrupt) {
			t.parts[i].dirty.Store(1)
		}
	}
}

// scanned makes e the entry in a slot, under the scan's lock, or leaves it as it is if the slot is empty. It may
// attach a segment. A slot that leads to no item is ErrCorrupt, and ends the scan.
func (t *core) scanned(l *local, held *entry, ls []line, k, slot int, e *entry) error {
	at := dsa.Pointer(ls[k].slots[slot].Load())
	if at == 0 {
		return nil
	}
	b, err := t.at(at)
	if err != nil {
		return err
	}
	key, _, _, ok := t.split(b)
	if !ok {
		return corrupt("the item at %v is longer than its segment", at)
	}
	l.change.begin(hashOf(key, t.seed), ls, b, k, slot, false)
	*e = entry{l, held.guard, at}
	return nil
}

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
		return t.answer(err)
	}
	return t.answer(t.contained(func() error {
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
	return t.lockDuring(ctx, i, true, func() error { return t.clearLocked(i) })
}

// clearLocked frees all that partition i has, and leaves it as one that never had an entry. The caller holds the
// partition's lock exclusively. Items of an array that is none are lost to the program, since nothing leads to them.
// If it fails the partition has fewer entries, and is whole or marked.
func (t *core) clearLocked(i int) error {
	p, hand := &t.parts[i], t.local[i].hands[0]
	if err := t.emptyBoth(i); err != nil {
		return err
	}
	v, err := t.lines(i)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		v = &nothing
	}
	p.raise()
	for _, ls := range [][]line{v.old(), v.lines} {
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
				if err := t.empty(i, 0); err != nil {
					// Tags and count do not fit the slots any more.
					p.dirty.Store(1)
					return err
				}
			}
		}
	}
	ordered.Store64(&p.count, 0)
	if err := t.free(t.local[i].next); err != nil {
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
		p.rearrange()
		ordered.Store64(w, 0)
		p.arranged()
		failpoint.Hit("dshash/destroy/bare")
		if err := t.empty(i, 0); err != nil {
			return err
		}
	}
	return nil
}
