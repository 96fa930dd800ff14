package dshash

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// repair brings a partition in order whose lock's holder died at any instruction: the slots decide. It can itself
// be cut short anywhere, by ctx before it has changed anything.
func (t *core) repair(ctx context.Context, i int) error {
	p := &t.parts[i]
	if _, err := t.area.Recover(ctx); err != nil { // so that what is in hands is the partition's for certain
		return err
	}
	failpoint.Hit("dshash/repair/recovered")
	g, err := t.lockReserve(ctx, forever) // so that an item which was being written in place is whole
	if err != nil {
		return err
	}
	g.Unlock()
	failpoint.Hit("dshash/repair/redone")
	p.raise()
	p.rearrange() // so that everybody looks at the arrays again
	arrays, err := t.mend(i)
	if err != nil {
		return err
	}
	failpoint.Hit("dshash/repair/counted")
	p.arranged()
	for k := range t.local[i].hands {
		hand := t.local[i].hands[k]
		if at := hand.Pointer(); at != 0 && t.linked(p, arrays, at) {
			hand.Clear()
		}
		failpoint.Hit("dshash/repair/hand")
		if err := t.empty(i, k); err != nil {
			return err
		}
	}
	if err := t.free(t.local[i].next); err != nil {
		return err
	}
	failpoint.Hit("dshash/repair/done")
	if t.ends.Ended() { // what was mended may be private pages
		return errClosed
	}
	p.dirty.Store(0)
	return nil
}

// linked reports whether an object is an array of the partition, or a slot leads to it.
func (t *core) linked(p *partition, arrays [2][]line, at dsa.Pointer) bool {
	return p.array.Load() == uint64(at) || p.old.Load() == uint64(at) || leads(arrays[0], at) || leads(arrays[1], at)
}

// mend makes tags, overflow and count anew, and brings the array and the old one in order. Slots that lead to no entry of
// this partition are cleared, and counted as lost; so is what was in an array that is none.
func (t *core) mend(i int) (arrays [2][]line, err error) {
	p := &t.parts[i]
	if old := p.old.Load(); old == p.array.Load() { // it has become old, and no other one the array; or there is neither
		p.old.Store(0)
	}
	if next := p.next.Load(); next == p.array.Load() || next == p.old.Load() { // it is the array, or still the old one
		p.next.Store(0)
	}
	failpoint.Hit("dshash/repair/arrays")
	whole := true
	for k, w := range []*atomic.Uint64{&p.array, &p.old} {
		arrays[k], err = t.strictLines(dsa.Pointer(w.Load()))
		if t.ends.Ended() { // what was read may be private pages
			return arrays, errClosed
		}
		if errors.Is(err, ErrCorrupt) {
			w.Store(0)
			whole, err = false, nil
		}
		if err != nil {
			return arrays, err
		}
	}
	if p.array.Load() == 0 {
		p.array.Store(p.old.Load())
		p.old.Store(0)
		arrays[0], arrays[1] = arrays[1], nil
	}
	lost := p.lost.Load()
	n, _, err := t.mendLines(i, arrays[0], nil)
	if err != nil {
		return arrays, err
	}
	more, first, err := t.mendLines(i, arrays[1], arrays[0])
	if err != nil {
		return arrays, err
	}
	n += more
	if missing := p.count.Load() - n - (p.lost.Load() - lost); !whole && int64(missing) > 0 {
		p.lost.Add(missing)
	}
	if t.ends.Ended() {
		return arrays, errClosed
	}
	p.progress.Store(first)
	p.count.Store(n)
	return arrays, nil
}

// mendLines is mend for one array. An entry that is in another already, to which it was moving, is there only. It counts
// the entries, and the empty lines at the front.
func (t *core) mendLines(i int, ls, other []line) (n, empty uint64, err error) {
	tags := make([]uint64, len(ls))
	empty = uint64(len(ls))
	for k := range ls {
		for slot := range ls[k].slots {
			at := dsa.Pointer(ls[k].slots[slot].Load())
			if at == 0 {
				continue
			}
			h, key, err := t.strictItem(i, at)
			if t.ends.Ended() { // what was read may be private pages
				return n, empty, errClosed
			}
			if errors.Is(err, ErrCorrupt) {
				ls[k].slots[slot].Store(0)
				t.parts[i].lost.Add(1)
				continue
			}
			if err != nil {
				return 0, 0, err
			}
			if _, _, there, _, ok := t.search(other, h, key); ok && there == at {
				ls[k].slots[slot].Store(0)
				continue
			}
			n++
			empty = min(empty, uint64(k))
			tags[k] = withTag(tags[k], slot, tagOf(h))
			for j := homeOf(h, len(ls)); j != k; j = (j + 1) % len(ls) {
				tags[j] = raised(tags[j])
			}
		}
	}
	for k := range ls {
		ls[k].tags.Store(tags[k])
	}
	return n, empty, nil
}

// raised returns a line's tags with one more in overflow.
func raised(tags uint64) uint64 {
	if overflow(tags) == overflowFull {
		return tags
	}
	return tags + overflowUnit
}

// lowered returns a line's tags with one less in overflow.
func lowered(tags uint64) uint64 {
	if n := overflow(tags); n == overflowFull || n == 0 {
		return tags
	}
	return tags - overflowUnit
}

// strictLines returns an array that is an object of the right size; ErrCorrupt if it is none.
func (t *core) strictLines(at dsa.Pointer) ([]line, error) {
	if at == 0 {
		return nil, nil
	}
	b, err := t.object(at)
	if err != nil {
		return nil, err
	}
	if len(b) < arraySize(1) {
		return nil, corrupt("the array at %v has %d bytes", at, len(b))
	}
	n := wordAt(b).Load()
	if n < 1 || n > maxLines || len(b) != arraySize(int(n)) {
		return nil, corrupt("the array at %v has %d lines in %d bytes", at, n, len(b))
	}
	return linesOf(b[linesAt(at):], n), nil
}

// strictItem returns the item of an entry of partition i, an object that has room for it; ErrCorrupt if it is none.
func (t *core) strictItem(i int, at dsa.Pointer) (h uint64, key []byte, err error) {
	b, err := t.object(at)
	if err != nil {
		return 0, nil, err
	}
	key, _, end, ok := t.split(b)
	if !ok || end > len(b) {
		return 0, nil, corrupt("the item at %v has %d bytes, which does not fit what it says", at, len(b))
	}
	if h = hashOf(key, t.seed); t.part(h) != i {
		return 0, nil, corrupt("the item at %v is of partition %d, and was found in %d", at, t.part(h), i)
	}
	return h, key, nil
}

// object is dsa's, with the error of who follows a pointer in shared memory.
func (t *core) object(at dsa.Pointer) ([]byte, error) {
	b, err := t.area.Bytes(at)
	if errors.Is(err, dsa.ErrPointer) {
		err = corrupt("a slot leads nowhere: %v", err)
	}
	return b, err
}

func leads(ls []line, at dsa.Pointer) bool {
	for k := range ls {
		for slot := range ls[k].slots {
			if ls[k].slots[slot].Load() == uint64(at) {
				return true
			}
		}
	}
	return false
}
