package dshash

import (
	"bytes"
	"encoding/binary"

	"github.com/godsm/godsm/shm/dsa"
)

// search looks for an entry: its slot, and its item, with at least that in b; p is 0 if there is none. It follows
// pointers into what is mapped only: ok is false if one leads elsewhere. Without the lock it may find anything,
// and is worth something only if the partition's version has not changed.
func (t *core) search(ls []line, h uint64, key []byte) (i, slot int, p dsa.Pointer, b []byte, ok bool) {
	i = homeOf(h, len(ls))
	tag := tagOf(h)
	for range ls {
		l := &ls[i]
		tags := l.tags.Load()
		for m := match(tags, tag); m != 0; m &= m - 1 {
			slot = slotOf(m)
			if p = dsa.Pointer(l.slots[slot].Load()); p == 0 {
				continue
			}
			b = t.area.Peek(p)
			if t.word && len(b) >= t.size { // the most frequent kind, here and now
				if binary.NativeEndian.Uint64(b) == binary.NativeEndian.Uint64(key) {
					return i, slot, p, b, true
				}
				continue
			}
			// Other keys of one size are compared here, too: a call takes as long as the comparison.
			if t.kind == kindFixed && len(b) >= t.size {
				if bytes.Equal(b[:t.keySize], key) {
					return i, slot, p, b, true
				}
				continue
			}
			k, ok := t.keyOf(b)
			if !ok || bytes.Equal(k, key) {
				return i, slot, p, b, ok
			}
		}
		if overflow(tags) == 0 {
			break
		}
		if i++; i == len(ls) {
			i = 0
		}
	}
	return 0, 0, 0, nil, true
}

// searchAgain goes on, under the lock, from a search that came upon what is not mapped: at.
func (t *core) searchAgain(
	ls []line, h uint64, key []byte, at dsa.Pointer,
) (i, slot int, p dsa.Pointer, b []byte, err error) {
	for range maxLooks {
		if b, err = t.at(at); err != nil {
			return 0, 0, at, nil, err
		}
		if _, ok := t.keyOf(b); !ok {
			return 0, 0, at, nil, corrupt("the item at %v is longer than its segment", at)
		}
		last, ok := at, false
		if i, slot, p, b, ok = t.search(ls, h, key); ok {
			return i, slot, p, b, nil
		}
		if at = p; at == last {
			return i, slot, p, nil, corrupt("the item at %v is longer than its segment", p)
		}
	}
	return 0, 0, at, nil, corrupt("what the array's slots lead to changes under the lock")
}

// maxLooks is how often a search begins again, at most: each time with one more segment that is mapped.
const maxLooks = 1000

// room returns the first free slot for an entry; false if there is none.
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
