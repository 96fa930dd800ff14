package dshash

import (
	"context"
	"errors"

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
	p.raise()
	p.rebuilds.Add(1) // so that everybody looks at the array again
	ls, err := t.mend(i)
	if err != nil {
		return err
	}
	failpoint.Hit("dshash/repair/counted")
	for k := range t.local[i].hands {
		hand := t.local[i].hands[k]
		if at := hand.Pointer(); at != 0 && (p.array.Load() == uint64(at) || leads(ls, at)) {
			hand.Clear()
		}
		failpoint.Hit("dshash/repair/hand")
		if err := t.empty(i, k); err != nil {
			return err
		}
	}
	failpoint.Hit("dshash/repair/done")
	p.dirty.Store(0)
	return nil
}

// mend makes tags, overflow and count anew. Slots that lead to no entry of this partition are
// cleared, and counted as lost.
func (t *core) mend(i int) ([]line, error) {
	p := &t.parts[i]
	at := dsa.Pointer(p.array.Load())
	ls, err := t.strictLines(at)
	if t.ends.Ended() { // what was read may be private pages
		return nil, errClosed
	}
	if errors.Is(err, ErrCorrupt) {
		p.lost.Add(p.count.Load())
		p.array.Store(0)
		ls, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	tags := make([]uint64, len(ls))
	n := uint64(0)
	for k := range ls {
		for slot := range ls[k].slots {
			at := dsa.Pointer(ls[k].slots[slot].Load())
			if at == 0 {
				continue
			}
			h, _, err := t.strictItem(i, at)
			if t.ends.Ended() {
				return nil, errClosed
			}
			if errors.Is(err, ErrCorrupt) {
				ls[k].slots[slot].Store(0)
				p.lost.Add(1)
				continue
			}
			if err != nil {
				return nil, err
			}
			n++
			tags[k] = withTag(tags[k], slot, tagOf(h))
			for j := homeOf(h, len(ls)); j != k; j = (j + 1) % len(ls) {
				tags[j] = raised(tags[j])
			}
		}
	}
	for k := range ls {
		ls[k].tags.Store(tags[k])
	}
	p.count.Store(n)
	return ls, nil
}

// raised is a line's tags with one more in overflow.
func raised(tags uint64) uint64 {
	if overflow(tags) == overflowFull {
		return tags
	}
	return tags + overflowUnit
}

// lowered is a line's tags with one less in overflow.
func lowered(tags uint64) uint64 {
	if n := overflow(tags); n == overflowFull || n == 0 {
		return tags
	}
	return tags - overflowUnit
}

// strictLines is an array that is an object of the right size; ErrCorrupt if it is none.
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

// strictItem is the item of an entry of partition i, an object of the right size; ErrCorrupt if it is none.
func (t *core) strictItem(i int, at dsa.Pointer) (h uint64, key []byte, err error) {
	b, err := t.object(at)
	if err != nil {
		return 0, nil, err
	}
	key, _, end, ok := t.split(b)
	if !ok || end != len(b) {
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
