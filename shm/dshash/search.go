package dshash

import (
	"errors"

	"github.com/godsm/godsm/shm/dsa"
)

// errMoved: what is looked for without the lock is not mapped here, or was garbled or reused meanwhile.
var errMoved = errors.New("moved")

// spot is where an entry is: its item and the slot that leads to it.
type spot struct {
	ls         []line
	line, slot int
	ptr        dsa.Pointer
	item       []byte // from ptr on; at least the item
}

// search looks for an entry; ptr is 0 if there is none. Without the lock it may find anything, and is worth something only if the partition's
// version has not changed.
func (t *core) search(ls []line, h uint64, key []byte, locked bool) (s spot, err error) {
	s.ls = ls
	i, tag := homeOf(h, len(ls)), tagOf(h)
	for range ls {
		tags := ls[i].tags.Load()
		for m := match(tags, tag); m != 0; m &= m - 1 {
			p := dsa.Pointer(ls[i].slots[slotOf(m)].Load())
			if p == 0 {
				continue
			}
			b, err := t.at(p, locked)
			if err != nil {
				return s, err
			}
			k, _, _, ok := t.split(b)
			if !ok {
				if !locked {
					return s, errMoved
				}
				return s, corrupt("the item at %v is longer than its segment", p)
			}
			if equal(k, key) {
				s.line, s.slot, s.ptr, s.item = i, slotOf(m), p, b
				return s, nil
			}
		}
		if overflow(tags) == 0 {
			break
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return s, nil
}

// room is the first free slot for an entry; false if there is none.
func room(ls []line, h uint64) (i, slot int, ok bool) {
	i = 0
	if len(ls) > 0 {
		i = homeOf(h, len(ls))
	}
	for range ls {
		for m := match(ls[i].tags.Load(), 0); m != 0; m &= m - 1 {
			if slot = slotOf(m); ls[i].slots[slot].Load() == 0 {
				return i, slot, true
			}
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return 0, 0, false
}

// passed calls f for each line from an entry's home to the one before its own.
func passed(ls []line, h uint64, own int, f func(l *line)) {
	for i := homeOf(h, len(ls)); i != own; {
		f(&ls[i])
		if i++; i == len(ls) {
			i = 0
		}
	}
}
