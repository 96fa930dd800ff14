package dshash

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// scan holds the entries in e, one after the other, until yield says no.
func (t *core) scan(ctx context.Context, exclusive bool, e *entry, yield func() bool) error {
	for i := range t.parts {
		if on, err := t.scanPart(ctx, i, exclusive, e, yield); !on || err != nil {
			return err
		}
	}
	return nil
}

func (t *core) scanPart(ctx context.Context, i int, exclusive bool, e *entry, yield func() bool) (on bool, err error) {
	var held entry // has the lock; e only what is yielded
	defer held.unlock()
	var v *view
	err = t.within(&held, func() (err error) {
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
	l := &local{t: t, i: i, hands: t.local[i].hands, scan: true}
	for _, ls := range [][]line{v.old(), v.lines} { // nothing moves meanwhile
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

// tidy replaces the array by a smaller one, after a scan, if it is sparse. It need not succeed.
func (t *core) tidy(i int) {
	for range 2 { // a change that has begun, and one that begins here
		t.tend(i)
		if err := t.settleArrays(i); errors.Is(err, ErrCorrupt) {
			t.parts[i].dirty.Store(1)
		}
	}
}

// scanned makes e the entry in a slot, if there is one.
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

// destroy empties the partitions one after the other, so that what is left is a table at any time,
// and frees the header last.
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
		self, err := t.area.Place(t.handle, selfAt)
		if err != nil {
			return err
		}
		return t.area.FreeFrom(self)
	}))
}

func (t *core) destroyPart(ctx context.Context, i int) error {
	return t.lockDuring(ctx, i, true, func() error { return t.clearLocked(i) })
}

// clearLocked empties a partition, under its lock.
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
				hand.Set(at)
				ordered.Store64(w, 0)
				failpoint.Hit("dshash/destroy/unlinked")
				if err := t.empty(i, 0); err != nil {
					p.dirty.Store(1) // tags and count are off
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
		if t.ends.Ended() { // what was cleared may be private pages
			return errClosed
		}
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
