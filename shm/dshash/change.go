package dshash

import (
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/ordered"
)

// change is what one who holds an entry exclusively knows of it beside that.
type change struct {
	h    uint64
	ls   []line
	item []byte // what its holder sees: the linked one, or the copy that is to be linked, or what a failed update left of that
	line int
	slot int
	hand int // that has the copy; -1: there is none
}

func (c *change) begin(h uint64, ls []line, item []byte, line, slot int) {
	c.h, c.ls, c.item, c.line, c.slot, c.hand = h, ls, item, line, slot, -1
}

// prepare puts an item for key and a value of n bytes into a hand, to be linked by commit, and returns where the
// value goes. There is room for it then.
func (e *entry) prepare(key []byte, n int) (value []byte, err error) {
	t, c := e.l.t, &e.l.change
	size, err := t.itemSize(key, n)
	if err != nil {
		return nil, err
	}
	if e.ptr == 0 {
		if err := e.makeRoom(); err != nil {
			return nil, err
		}
	}
	hand, item, err := t.fetch(e.l.i, size)
	if err != nil {
		return nil, err
	}
	c.hand, c.item = hand, item
	return t.format(item, key), nil
}

// update prepares a value of n bytes, if sizes are not fixed, which begins as the present one does and goes on
// with zeros.
func (e *entry) update(n int) (to []byte, err error) {
	if e.l == nil || !e.guard.Exclusive() {
		return nil, ErrShared
	}
	t := e.l.t
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			to, err = nil, t.broken(e, recover())
		}
	}()
	to, err = e.copied(n)
	whole = true
	if t.ends.Ended() {
		return nil, errClosed
	}
	return to, err
}

func (e *entry) copied(n int) ([]byte, error) {
	t, c := e.l.t, &e.l.change
	if t.kind == kindFixed && e.ptr != 0 {
		return e.copiedWhole()
	}
	key, value, ok := e.parts()
	if !ok {
		return nil, corrupt("the item at %v is longer than its segment", e.ptr)
	}
	if _, err := t.itemSize(key, n); err != nil {
		return nil, err
	}
	if c.hand >= 0 {
		if t.kind == kindFixed || len(value) == n {
			return value, nil
		}
		c.item, c.hand = cloned(c.item), -1 // the copy is in the way of the next
		if key, value, ok = e.parts(); !ok {
			return nil, corrupt("the item of a change does not fit what it says")
		}
	}
	to, err := e.prepare(key, n)
	if err != nil {
		if e.ptr != 0 {
			c.item, _ = t.at(e.ptr)
		}
		return nil, err
	}
	clear(to[copy(to, value):])
	return to, nil
}

// copiedWhole is copied for a linked item of fixed size.
func (e *entry) copiedWhole() ([]byte, error) {
	t, c := e.l.t, &e.l.change
	if c.hand < 0 {
		if len(c.item) < t.size {
			return nil, corrupt("the item at %v is longer than its segment", e.ptr)
		}
		hand, item, err := t.fetch(e.l.i, t.size)
		if err != nil {
			return nil, err
		}
		copy(item, c.item)
		c.hand, c.item = hand, item
	}
	return c.item[t.valueAt:t.size], nil
}

// commit makes the copy, if there is one, what the table has: by one store of the slot.
func (e *entry) commit() {
	if !e.guard.Exclusive() || e.l.change.hand < 0 {
		return
	}
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	copied := hands[c.hand].Pointer()
	if e.ptr == 0 {
		l := &c.ls[c.line]
		passed(c.ls, c.h, c.line, func(l *line) { ordered.Store64(&l.tags, raised(l.tags.Load())) })
		failpoint.Hit("dshash/insert/passed")
		ordered.Store64(&l.slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/insert/linked")
		ordered.Store64(&l.tags, withTag(l.tags.Load(), c.slot, tagOf(c.h)))
		failpoint.Hit("dshash/insert/tagged")
		hands[c.hand].Clear()
		failpoint.Hit("dshash/insert/handed")
		ordered.Store64(&p.count, p.count.Load()+1)
	} else {
		hands[1-c.hand].Set(e.ptr)
		failpoint.Hit("dshash/update/old")
		ordered.Store64(&c.ls[c.line].slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/update/linked")
		hands[c.hand].Clear()
		failpoint.Hit("dshash/update/handed")
		p.raise()
		t.settle(e.l.i, 1-c.hand)
	}
	e.ptr, c.hand = copied, -1
}

// unlink takes the entry out.
func (e *entry) unlink() error {
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	if e.ptr == 0 { // never linked: what is in the hand stays there, for the next
		if c.hand >= 0 {
			t.settle(e.l.i, c.hand)
		}
		c.hand = -1
		return nil
	}
	k := 0
	if hands[k].Pointer() != 0 {
		k = 1
	}
	if err := t.empty(e.l.i, k); err != nil {
		return err
	}
	hands[k].Set(e.ptr)
	failpoint.Hit("dshash/delete/old")
	l := &c.ls[c.line]
	ordered.Store64(&l.slots[c.slot], 0)
	failpoint.Hit("dshash/delete/unlinked")
	ordered.Store64(&l.tags, withTag(l.tags.Load(), c.slot, 0))
	failpoint.Hit("dshash/delete/tagged")
	passed(c.ls, c.h, c.line, func(l *line) { ordered.Store64(&l.tags, lowered(l.tags.Load())) })
	failpoint.Hit("dshash/delete/passed")
	ordered.Store64(&p.count, p.count.Load()-1)
	p.raise()
	failpoint.Hit("dshash/delete/raised")
	t.settle(e.l.i, k)
	if c.hand >= 0 {
		t.settle(e.l.i, c.hand)
	}
	e.ptr, c.item, c.hand = 0, nil, -1
	if !e.l.scan {
		t.shrink(e.l.i, c.ls)
	}
	return nil
}
