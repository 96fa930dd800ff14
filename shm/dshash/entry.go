package dshash

import (
	"context"
	"encoding/binary"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/ordered"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// entry is an entry that is held. It is four words, so that it stays in registers on its way to the caller: more are
// copied from one stack frame to the next, which costs as much as half the lookup.
type entry struct {
	l     *local // of its partition; nil once it is over
	guard shmsync.Guard
	ptr   dsa.Pointer // of the item that is linked; 0 if there is none
}

// change is what one who holds an entry exclusively knows of it beside that.
type change struct {
	h    uint64
	ls   []line
	item []byte // what he sees: the linked one, or the copy that is to be linked, or what a failed update left of that
	line int
	slot int
	hand int // that has the copy; -1: there is none
}

func (c *change) begin(h uint64, ls []line, item []byte, line, slot int) {
	c.h, c.ls, c.item, c.line, c.slot, c.hand = h, ls, item, line, slot, -1
}

// find finds an entry and holds it in e; if there is none it holds nothing.
func (t *core) find(ctx context.Context, key []byte, exclusive bool, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			found, err = false, t.broken(e, recover())
		}
	}()
	err = t.doubted(e, t.hold(ctx, key, exclusive, e))
	found = err == nil && e.ptr != 0
	if ended := t.ends.Ended(); ended || !found {
		e.unlock()
		if found = false; ended {
			err = errClosed
		}
	}
	whole = true
	return found, err
}

// hold takes the lock and looks for the entry. If it fails, e may have the lock nevertheless.
func (t *core) hold(ctx context.Context, key []byte, exclusive bool, e *entry) error {
	var h uint64
	if t.word {
		h = hashWord(binary.NativeEndian.Uint64(key), t.seed)
	} else {
		h = hashOf(key, t.seed)
	}
	i := t.part(h)
	l, p := &t.local[i], &t.parts[i]
	var err error
	if t.ends.Ended() {
		return errClosed
	} else if exclusive {
		e.guard, err = l.lock.Lock(impatient)
	} else {
		e.guard, err = l.lock.RLock(impatient)
	}
	if err == nil {
		e.l = l
	}
	if err != nil || p.dirty.Load() != 0 || e.guard.Abandoned() {
		if err = t.lockMended(ctx, i, exclusive, e); err != nil {
			return err
		}
	}
	if t.ends.Ended() {
		e.late()
		return errClosed
	}
	var ls []line
	if v := l.seen.Load(); v.current(p, t.area) {
		ls = v.lines
	} else if ls, err = t.linesAnew(i); err != nil {
		return err
	}
	line, slot, at, b, ok := t.search(ls, h, key)
	if !ok {
		if line, slot, at, b, err = t.searchAgain(ls, h, key, at); err != nil {
			return err
		}
	}
	if e.ptr = at; exclusive {
		l.change.begin(h, ls, b, line, slot)
	}
	return nil
}

// insert finds an entry or makes one, with a value of n zero bytes, that is linked when it is released.
func (t *core) insert(ctx context.Context, key []byte, n int, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			found, err = false, t.broken(e, recover())
		}
	}()
	if err = t.hold(ctx, key, true, e); err == nil && e.ptr == 0 {
		var value []byte
		value, err = e.prepare(key, n)
		clear(value)
	}
	if err = t.answer(err); err != nil {
		_ = t.doubted(e, err)
		e.unlock()
	}
	whole = true
	return err == nil && e.ptr != 0, err
}

// set makes an entry's value that, whether there is one or not.
func (t *core) set(ctx context.Context, key, value []byte) (err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			err = t.broken(&e, recover())
		}
	}()
	if err = t.hold(ctx, key, true, &e); err == nil {
		var to []byte
		if to, err = e.prepare(key, len(value)); err == nil && !t.ends.Ended() {
			assign(to, value)
			e.commit()
		}
	}
	if err != nil {
		_ = t.doubted(&e, err)
	}
	e.unlock()
	whole = true
	return t.answer(err)
}

// remove deletes an entry, if there is one.
func (t *core) remove(ctx context.Context, key []byte) (found bool, err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			found, err = false, t.broken(&e, recover())
		}
	}()
	err = t.hold(ctx, key, true, &e)
	if found = err == nil && e.ptr != 0 && !t.ends.Ended(); found {
		err = e.unlink()
	}
	if err != nil {
		_ = t.doubted(&e, err)
	}
	e.unlock()
	whole = true
	err = t.answer(err)
	return found && err == nil, err
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
	if t.ends.Ended() {
		return nil, errClosed
	}
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

// item is what the holder sees.
func (e *entry) item() []byte {
	if e.guard.Exclusive() {
		return e.l.change.item
	}
	return e.l.t.area.Peek(e.ptr)
}

// parts are the key and the value in the item, as long as it says now; not ok if that can't be.
func (e *entry) parts() (key, value []byte, ok bool) {
	item := e.item()
	key, from, to, ok := e.l.t.split(item)
	if !ok {
		return nil, nil, false
	}
	return key[:len(key):len(key)], item[from:to:to], true
}

// look is parts for what returns no error: nothing once the entry is released, the area has ended, or the item is
// garbled.
func (e *entry) look() (key, value []byte) {
	if e.l == nil || e.l.t.ends.Ended() {
		return nil, nil
	}
	if e.l.t.kind == kindFixed { // reads none of the bytes
		key, value, _ = e.parts()
		return key, value
	}
	_ = e.l.t.contained(func() error {
		key, value, _ = e.parts()
		return nil
	})
	return key, value
}

// copyKey copies the key, or what there is of it.
func (e *entry) copyKey(to []byte) {
	if e.l == nil || e.l.t.ends.Ended() {
		return
	}
	_ = e.l.t.contained(func() error {
		key, _, _ := e.parts()
		copy(to, key)
		return nil
	})
	if e.l.t.ends.Ended() {
		clear(to)
	}
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

// delete ends the hold of an entry by taking it out.
func (e *entry) delete() error {
	if e.l == nil || !e.guard.Exclusive() {
		return ErrShared
	}
	t := e.l.t
	return t.within(e, func() error {
		if t.ends.Ended() {
			e.unlock()
			return errClosed
		}
		if err := e.unlink(); err != nil {
			return err
		}
		e.unlock()
		return nil
	})
}

// release ends the hold; what was changed is the table's from here on, unless the area has ended.
func (e *entry) release() {
	switch l := e.l; {
	case l == nil:
	case e.guard.Exclusive():
		e.releaseChanged()
	case l.t.ends.Ended():
		l.t.drop(e)
	default:
		e.unlock()
	}
}

func (e *entry) releaseChanged() {
	t := e.l.t
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			_ = t.broken(e, recover())
		}
	}()
	if !t.ends.Ended() {
		e.commit()
	}
	e.unlock()
	whole = true
}
