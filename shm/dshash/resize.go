package dshash

import (
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// makeRoom finds a slot for a new entry. An array that is more than four fifths full grows by half first; if it
// can't, what room there is left is used.
func (e *entry) makeRoom() error {
	t, i, c := e.l.t, e.l.i, &e.l.change
	n := len(c.ls)
	var err error
	if count := t.parts[i].count.Load(); n == 0 || (count+1)*5 > uint64(n)*slotsPerLine*4 {
		var ls []line
		if ls, err = t.rebuild(i, c.ls, max(n+1, n+n/2)); err == nil {
			c.ls = ls
		}
	}
	var ok bool
	if c.line, c.slot, ok = room(c.ls, c.h); ok {
		return nil
	}
	if err == nil {
		err = corrupt("partition %d has no room, though it counts %d entries in %d lines",
			i, t.parts[i].count.Load(), len(c.ls))
	}
	return err
}

// shrink makes an array smaller that is less than a quarter full. It need not succeed.
func (t *core) shrink(i int, ls []line) {
	count := t.parts[i].count.Load()
	if len(ls) > 1 && count*4 < uint64(len(ls))*slotsPerLine {
		_, _ = t.rebuild(i, ls, min(max(1, (int(count)*2+slotsPerLine-1)/slotsPerLine), len(ls)-1))
	}
}

// rebuild puts a new array of n lines in the place of the old. Both hands are empty then.
func (t *core) rebuild(i int, old []line, n int) ([]line, error) {
	p, hands := &t.parts[i], &t.local[i].hands
	if n > maxLines {
		return nil, errkind.As(ErrSize,
			errors.New("dshash: a partition has as many entries as it can: give the table more (Options.Partitions)"))
	}
	if err := t.emptyBoth(i); err != nil {
		return nil, err
	}
	if err := t.area.AllocInto(arraySize(n), hands[0]); err != nil {
		return nil, err
	}
	failpoint.Hit("dshash/resize/allocated")
	at := hands[0].Pointer()
	b, err := t.area.Bytes(at)
	if err != nil {
		return nil, err
	}
	clear(b)
	wordAt(b).Store(uint64(n))
	ls := linesOf(b[linesAt(at):], uint64(n))
	count, err := t.fill(ls, old)
	if err != nil {
		return nil, errors.Join(err, t.empty(i, 0))
	}
	if t.ends.Ended() { // what was read, or filled, may be private pages
		return nil, errClosed
	}
	ordered.Store64(&p.count, count)
	failpoint.Hit("dshash/resize/filled")
	hands[1].Set(dsa.Pointer(p.array.Load()))
	failpoint.Hit("dshash/resize/old")
	ordered.Store64(&p.rebuilds, p.rebuilds.Load()+1)
	failpoint.Hit("dshash/resize/raised")
	ordered.Store64(&p.array, uint64(at))
	failpoint.Hit("dshash/resize/linked")
	hands[0].Clear()
	failpoint.Hit("dshash/resize/handed")
	p.raise()
	_ = t.empty(i, 1) // if not now, when the hand is needed
	return ls, nil
}

// fill puts the entries of an array into a new one, and counts them.
func (t *core) fill(ls, old []line) (n uint64, err error) {
	for k := range old {
		for slot := range old[k].slots {
			at := old[k].slots[slot].Load()
			if at == 0 {
				continue
			}
			b, err := t.at(dsa.Pointer(at))
			if err != nil {
				return n, err
			}
			key, _, _, whole := t.split(b)
			if !whole {
				return n, corrupt("the item at %v is longer than its segment", dsa.Pointer(at))
			}
			h := hashOf(key, t.seed)
			to, free, ok := room(ls, h)
			if !ok {
				return n, corrupt("an array has more entries than its partition counts")
			}
			passed(ls, h, to, func(l *line) { ordered.Store64(&l.tags, raised(l.tags.Load())) })
			n++
			ordered.Store64(&ls[to].slots[free], at)
			ordered.Store64(&ls[to].tags, withTag(ls[to].tags.Load(), free, tagOf(h)))
		}
	}
	return n, nil
}
