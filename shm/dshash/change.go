package dshash

import (
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// change is what one who holds an entry exclusively knows of it beside that.
type change struct {
	h    uint64
	ls   []line
	item []byte      // what its holder sees: the linked one, or the copy that is to be linked, or what a failed update left of that
	at   dsa.Pointer // of the copy, if a hand has it
	own  []byte      // of this process, for a copy
	line int
	slot int
	hand int  // that has the copy; none, or image
	busy bool // the arrays are being changed
}

const (
	none  = -1 // there is no copy
	image = -2 // the copy is in this process's memory: the linked item becomes that
)

func (c *change) begin(h uint64, ls []line, item []byte, line, slot int, busy bool) {
	c.h, c.ls, c.item, c.line, c.slot, c.hand, c.busy = h, ls, item, line, slot, none, busy
}

// imaged makes n bytes of this process the copy.
func (c *change) imaged(n int) []byte {
	if cap(c.own) < n || cap(c.own) > spareSize && cap(c.own) > 2*n {
		c.own = cloned(make([]byte, n))
	}
	c.hand = image
	return c.own[:n]
}

// prepare puts an item for key and a value of n bytes into a hand, to be linked by commit, and returns where the
// value goes. There is room for it then, and the reserve has some for a later change.
func (e *entry) prepare(ctx context.Context, key []byte, n int) (value []byte, err error) {
	t, c := e.l.t, &e.l.change
	size, err := t.size, error(nil) // of a fixed size there is nothing to ask for
	if t.kind != kindFixed {
		if size, err = t.itemSize(key, n); err != nil {
			return nil, err
		}
	}
	if int64(size) > t.spared.bytes.Load() {
		if err := t.provide(ctx, size); err != nil {
			return nil, err
		}
	}
	if e.ptr == 0 {
		// Most arrays have room, and then the first free slot is the entry's. MakeRoom does the same after it has made the
		// array larger, or finished what another call has begun.
		free := false
		if !t.crowded(e.l.i, len(c.ls)) {
			c.line, c.slot, free = room(c.ls, c.h)
		}
		if !free {
			if err := e.makeRoom(); err != nil {
				return nil, err
			}
		}
	}
	hand, at, item, err := t.fetch(e.l.i, size)
	if err != nil {
		return nil, err
	}
	c.hand, c.at, c.item = hand, at, item
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
	size, err := t.itemSize(key, n)
	if err != nil {
		return nil, err
	}
	if c.hand != none {
		if t.kind == kindFixed || len(value) == n {
			return value, nil
		}
		c.item, c.hand = cloned(c.item), none // the copy is in the way of the next
		if key, value, ok = e.parts(); !ok {
			return nil, corrupt("the item of a change does not fit what it says")
		}
	}
	to, err := e.prepare(context.Background(), key, n)
	if err != nil {
		if e.ptr == 0 {
			return nil, err
		}
		old, oerr := t.object(e.ptr)
		if oerr != nil {
			return nil, oerr
		}
		if !scarce(err) || size > len(old) {
			c.item = old
			return nil, err
		}
		item := c.imaged(size)
		to = t.format(item, key)
		c.item = item
	}
	clear(to[copy(to, value):])
	return to, nil
}

// copiedWhole is copied for a linked item of fixed size.
func (e *entry) copiedWhole() ([]byte, error) {
	t, c := e.l.t, &e.l.change
	if c.hand == none {
		if len(c.item) < t.size {
			return nil, corrupt("the item at %v is longer than its segment", e.ptr)
		}
		var err error
		hand, at, item := none, dsa.Pointer(0), []byte(nil)
		if !t.cell {
			hand, at, item, err = t.fetch(e.l.i, t.size)
		}
		switch {
		case t.cell || scarce(err):
			item, hand = c.imaged(t.size), image
		case err != nil:
			return nil, err
		}
		copy(item, c.item)
		c.hand, c.at, c.item = hand, at, item
	}
	return c.item[t.valueAt:t.size], nil
}

// commit makes the copy, if there is one, what the table has: by one store of the slot, or in place.
func (e *entry) commit() {
	if !e.guard.Exclusive() || e.l.change.hand == none {
		return
	}
	if e.l.change.hand == image {
		e.commitImage()
		return
	}
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	copied := c.at
	if e.ptr == 0 {
		l := &c.ls[c.line]
		passed(c.ls, c.h, c.line, func(l *line) { ordered.Store64(&l.tags, raised(l.tags.Load())) })
		failpoint.Hit("dshash/insert/passed")
		ordered.Store64(&l.slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/insert/linked")
		ordered.Store64(&l.tags, withTag(l.tags.Load(), c.slot, tagOf(c.h)))
		failpoint.Hit("dshash/insert/tagged")
		if t.ends.Ended() { // the hand leads a repair to the copy, if others do not have the link
			p.dirty.Store(1)
			return
		}
		hands[c.hand].Clear()
		failpoint.Hit("dshash/insert/handed")
		ordered.Store64(&p.count, p.count.Load()+1)
	} else {
		hands[1-c.hand].Set(e.ptr)
		failpoint.Hit("dshash/update/old")
		ordered.Store64(&c.ls[c.line].slots[c.slot], uint64(copied))
		failpoint.Hit("dshash/update/linked")
		if t.ends.Ended() {
			p.dirty.Store(1)
			return
		}
		hands[c.hand].Clear()
		failpoint.Hit("dshash/update/handed")
		p.raise()
		t.settle(e.l.i, 1-c.hand)
	}
	e.ptr, c.hand = copied, none
	if c.busy && !e.l.scan {
		t.tend(e.l.i)
	}
}

// commitImage writes the copy in place. It waits for the reserve's lock, if it needs that, as long as it takes.
func (e *entry) commitImage() {
	t, c := e.l.t, &e.l.change
	image := c.item
	c.item, c.hand = t.area.Peek(e.ptr), none
	if t.cell {
		e.store(image[t.valueAt:t.size])
		return
	}
	var err error
	if _, from, to, ok := t.split(image); ok {
		_, err = e.overwrite(context.Background(), image[from:to])
	}
	_ = t.doubted(e, err)
	if c.busy && !e.l.scan {
		t.tend(e.l.i)
	}
}

// unlink takes the entry out.
func (e *entry) unlink() error {
	t, c, p, hands := e.l.t, &e.l.change, &e.l.t.parts[e.l.i], &e.l.hands
	if e.ptr == 0 { // never linked: what is in the hand stays there, for the next
		if c.hand >= 0 {
			t.settle(e.l.i, c.hand)
		}
		c.hand = none
		return nil
	}
	k := 0
	if hands[k].Pointer() != 0 {
		k = 1
	}
	// Both hands are empty but for the spare one, so there is seldom anything to free here.
	if hands[k].Pointer() != 0 {
		if err := t.empty(e.l.i, k); err != nil {
			return err
		}
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
	e.ptr, c.item, c.hand = 0, nil, none
	if !e.l.scan && (c.busy || t.sparse(e.l.i, len(c.ls))) {
		t.tend(e.l.i)
	}
	return nil
}
