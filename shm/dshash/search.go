package dshash

import "github.com/godsm/godsm/shm/dsa"

// spot is where an entry is: its item and the slot that leads to it.
type spot struct {
	line, slot int
	ptr        dsa.Pointer
	item       []byte // from ptr on; at least the item
}

// search looks for an entry; ptr is 0 if there is none. It follows pointers into what is mapped only: ok is false if one leads elsewhere. Without
// the lock it may find anything, and is worth something only if the partition's version has not changed.
func (t *core) search(ls []line, h uint64, key []byte) (s spot, ok bool) {
	i, tag := homeOf(h, len(ls)), tagOf(h)
	for range ls {
		tags := ls[i].tags.Load()
		for m := match(tags, tag); m != 0; m &= m - 1 {
			slot := slotOf(m)
			p := dsa.Pointer(ls[i].slots[slot].Load())
			if p == 0 {
				continue
			}
			b := t.area.Peek(p)
			k, ok := t.keyOf(b)
			if !ok {
				return spot{ptr: p}, false
			}
			if equal(k, key) {
				return spot{i, slot, p, b}, true
			}
		}
		if overflow(tags) == 0 {
			break
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return spot{}, true
}

// searchLocked is search, with what it leads to mapped if need be.
func (t *core) searchLocked(ls []line, h uint64, key []byte) (spot, error) {
	for last := dsa.Pointer(0); ; {
		s, ok := t.search(ls, h, key)
		if ok {
			return s, nil
		}
		b, err := t.at(s.ptr)
		if err != nil {
			return s, err
		}
		if _, ok := t.keyOf(b); !ok || last == s.ptr {
			return s, corrupt("the item at %v is longer than its segment", s.ptr)
		}
		last = s.ptr
	}
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
