package dshash

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// What is here runs under the partition's lock, held exclusively. A hand owns its object: the partition's repair
// frees it if nothing in the array leads to it. When nobody holds the lock, at most one hand has anything: an item
// that was taken out and is ready for the next to come in.

// spare is an item that this process left in a hand: it need not ask the allocator what it is, as long as the
// partition's version is the same, which goes up when a hand's object is freed.
type spare struct {
	at      dsa.Pointer
	version uint64
	size    int
}

// empty frees what is in a hand.
func (t *core) empty(i, k int) error {
	hand := t.local[i].hands[k]
	if hand.Pointer() == 0 {
		return nil
	}
	err := t.free(hand)
	t.parts[i].raise()
	return err
}

func (t *core) emptyBoth(i int) error {
	if err := t.empty(i, 0); err != nil {
		return err
	}
	return t.empty(i, 1)
}

// spareSize is up to which size an item that was taken out stays in its hand, for the next to come in.
const spareSize = 1024

// settle ends the stay of an item in a hand that was taken out. If it can't be freed now, it is when the hand is
// needed.
func (t *core) settle(i, k int) {
	l := &t.local[i]
	if l.hands[1-k].Pointer() == 0 {
		at := l.hands[k].Pointer()
		if t.kind == kindFixed && t.size <= spareSize {
			l.spare = spare{at, t.parts[i].version.Load(), t.size}
			return
		}
		if b, err := t.at(at); err == nil {
			if _, _, size, ok := t.split(b); ok && size <= spareSize {
				l.spare = spare{at, t.parts[i].version.Load(), size}
				return
			}
		}
	}
	_ = t.empty(i, k)
}

// ready returns the object at, which is in a hand, if it has n bytes.
func (t *core) ready(i int, at dsa.Pointer, n int) []byte {
	if t.local[i].spare == (spare{at, t.parts[i].version.Load(), n}) {
		if b := t.area.Peek(at); len(b) >= n {
			return b[:n:n]
		}
	}
	if b, err := t.area.Bytes(at); err == nil && len(b) == n {
		return b
	}
	return nil
}

// fetch puts an object of n bytes into a hand and empties the other: what is there already, if it has
// that size, else a new one. It returns the hand's number, the object and the object's bytes. The caller links p, not what
// the hand reads later: a stray store in the hand then leads no reader astray.
func (t *core) fetch(i, n int) (k int, p dsa.Pointer, b []byte, err error) {
	hands := &t.local[i].hands
	k = -1
	for j := range hands {
		at := hands[j].Pointer()
		if at == 0 {
			continue
		}
		if k < 0 {
			if b = t.ready(i, at, n); b != nil {
				k, p = j, at
				continue
			}
		}
		if err := t.empty(i, j); err != nil {
			return 0, 0, nil, err
		}
	}
	if k < 0 {
		k = 0
		if p, b, err = t.area.AllocBytesInto(n, hands[0]); err != nil {
			return 0, 0, nil, err
		}
		failpoint.Hit("dshash/fetch/allocated")
	}
	return k, p, b, nil
}
