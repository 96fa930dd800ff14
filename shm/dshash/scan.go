package dshash

import (
	"context"
	"errors"

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
	defer t.dropLock(&held)
	var v *view
	err = t.containedHold(&held, func() (err error) {
		// The partition was empty at this moment. Asking for that needs no lock.
		if t.parts[i].array.Load() == 0 {
			return nil // nothing was there at this moment
		}
		if err = t.lockPart(ctx, i, exclusive, &held); err == nil {
			v, err = t.lockedView(i)
		}
		return err
	})
	if err != nil || v == nil {
		return err == nil, err
	}
	// The entries that are yielded have a local of their own: their release commits, and keeps the lock.
	l := &local{t: t, i: i, hands: t.local[i].hands, scan: true}
	// Nothing moves while the lock is held.
	for _, ls := range [][]line{v.oldLines(), v.lines} {
		for k := range ls {
			for slot := range ls[k].slots {
				if err := t.containedHold(&held, func() error { return t.holdScanned(l, &held, ls, k, slot, e) }); err != nil {
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
	return true, t.containedHold(&held, func() error {
		if exclusive {
			t.shrinkIfSparse(i)
		}
		return nil
	})
}

// shrinkIfSparse replaces the array of partition i by a smaller one, after an exclusive scan, if it is sparse. It need
// not succeed; what it finds garbled marks the partition. The caller holds the partition's lock exclusively.
func (t *core) shrinkIfSparse(i int) {
	// Once for a change that has begun already, and once for one that begins here.
	for range 2 {
		t.stepOrShrink(i)
		if err := t.finishResize(i); errors.Is(err, ErrCorrupt) {
			t.parts[i].dirty.Store(1)
		}
	}
}

// holdScanned makes e the entry in a slot, under the scan's lock, or leaves it as it is if the slot is empty. It may
// attach a segment. A slot that leads to no item is ErrCorrupt, and ends the scan.
func (t *core) holdScanned(l *local, held *entry, ls []line, k, slot int, e *entry) error {
	at := dsa.Pointer(ls[k].slots[slot].Load())
	if at == 0 {
		return nil
	}
	b, err := t.bytesAt(at)
	if err != nil {
		return err
	}
	key, _, _, ok := t.splitItem(b)
	if !ok {
		return corrupt("the item at %v is longer than its segment", at)
	}
	l.change.begin(hashOf(key, t.seed), ls, b, k, slot, false)
	*e = entry{l, held.guard, at}
	return nil
}
