package dshash

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/ordered"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// entry is an entry that is held: its partition's lock, and where it is.
type entry struct {
	t         *core // nil once it is over
	part      int
	guard     shmsync.Guard
	exclusive bool
	scanned   bool // the lock is the scan's
	h         uint64
	spot          // of the linked item; ptr is 0 if there is none
	hand      int // that has the copy which is to be linked; -1: none
	copied    dsa.Pointer
	copy      []byte
}

// find finds an entry and holds it; if there is none it holds nothing.
func (t *core) find(ctx context.Context, key []byte, h uint64, exclusive bool) (e entry, found bool, err error) {
	if e, err = t.hold(ctx, key, h, exclusive); err != nil || e.ptr == 0 {
		e.unlock()
		return entry{}, false, err
	}
	return e, true, nil
}

// hold takes the lock and looks for the entry. The lock is the caller's unless t is nil.
func (t *core) hold(ctx context.Context, key []byte, h uint64, exclusive bool) (e entry, err error) {
	e = entry{part: t.part(h), exclusive: exclusive, h: h, hand: -1}
	if e.guard, err = t.lock(ctx, e.part, exclusive); err != nil {
		return e, err
	}
	e.t = t
	if e.ls, err = t.linked(&t.parts[e.part], true); err == nil && e.ls != nil {
		e.spot, err = t.search(e.ls, h, key, true)
	}
	return e, err
}

// insert finds an entry or makes one, with a value of n zero bytes, that is linked when it is released.
func (t *core) insert(ctx context.Context, key []byte, n int) (e entry, found bool, err error) {
	if e, err = t.hold(ctx, key, hashOf(key, t.seed), true); err == nil && e.ptr == 0 {
		var value []byte
		value, err = e.prepare(key, n)
		clear(value)
	}
	if err != nil {
		e.unlock()
		return entry{}, false, err
	}
	return e, e.ptr != 0, nil
}

// set makes an entry's value that, whether there is one or not.
func (t *core) set(ctx context.Context, key, value []byte) error {
	e, err := t.hold(ctx, key, hashOf(key, t.seed), true)
	if err == nil {
		var to []byte
		if to, err = e.prepare(key, len(value)); err == nil {
			copy(to, value)
			e.commit()
		}
	}
	e.unlock()
	return err
}

// remove deletes an entry, if there is one.
func (t *core) remove(ctx context.Context, key []byte) (found bool, err error) {
	e, err := t.hold(ctx, key, hashOf(key, t.seed), true)
	if found = err == nil && e.ptr != 0; found {
		err = e.unlink()
	}
	e.unlock()
	return found, err
}

// prepare puts an item for key and a value of n bytes into a hand, to be linked by commit, and returns where the value goes. There is
// room for it then.
func (e *entry) prepare(key []byte, n int) (value []byte, err error) {
	t := e.t
	size, err := t.itemSize(key, n)
	if err != nil {
		return nil, err
	}
	if e.ptr == 0 {
		if err := e.makeRoom(); err != nil {
			return nil, err
		}
	}
	if e.hand, e.copied, e.copy, err = t.fetch(e.part, size); err != nil {
		e.hand = -1
		return nil, err
	}
	return t.format(e.copy, key), nil
}

// update prepares a value of n bytes, which begins as the present one does and goes on with zeros.
func (e *entry) update(n int) ([]byte, error) {
	switch {
	case !e.exclusive:
		return nil, ErrShared
	case e.hand >= 0:
		key, from, to, _ := e.t.split(e.copy)
		if to-from == n {
			return e.copy[from:to], nil
		}
		return e.resize(key, e.copy[from:to], n)
	}
	key, _, _, _ := e.t.split(e.item)
	old := e.value()
	value, err := e.prepare(key, n)
	if err != nil {
		return nil, err
	}
	clear(value[copy(value, old):])
	return value, nil
}

// resize makes another copy of what is a copy already.
func (e *entry) resize(key, value []byte, n int) ([]byte, error) {
	key, value = append([]byte(nil), key...), append([]byte(nil), value[:min(n, len(value))]...)
	to, err := e.prepare(key, n)
	if err != nil {
		return nil, err
	}
	clear(to[copy(to, value):])
	return to, nil
}

// shown is the item that the holder sees.
func (e *entry) shown() []byte {
	if e.hand >= 0 {
		return e.copy
	}
	return e.item
}

func (e *entry) key() []byte {
	key, _, _, _ := e.t.split(e.shown())
	return key[:len(key):len(key)]
}

func (e *entry) value() []byte {
	b := e.shown()
	_, from, to, _ := e.t.split(b)
	return b[from:to:to]
}

// commit makes the copy, if there is one, what the table has: by one store of the slot.
func (e *entry) commit() {
	if e.hand < 0 {
		return
	}
	t, p := e.t, &e.t.parts[e.part]
	hands := &t.local[e.part].hands
	if e.ptr == 0 {
		l := &e.ls[e.line]
		passed(e.ls, e.h, e.line, func(l *line) { ordered.Store(&l.tags, raised(l.tags.Load())) })
		failpoint.Hit("dshash/insert/passed")
		ordered.Store(&l.slots[e.slot], uint64(e.copied))
		failpoint.Hit("dshash/insert/linked")
		ordered.Store(&l.tags, withTag(l.tags.Load(), e.slot, tagOf(e.h)))
		failpoint.Hit("dshash/insert/tagged")
		hands[e.hand].Clear()
		failpoint.Hit("dshash/insert/handed")
		ordered.Store(&p.count, p.count.Load()+1)
	} else {
		_, _, size, _ := t.split(e.item)
		hands[1-e.hand].Set(e.ptr)
		failpoint.Hit("dshash/update/old")
		ordered.Store(&e.ls[e.line].slots[e.slot], uint64(e.copied))
		failpoint.Hit("dshash/update/linked")
		hands[e.hand].Clear()
		failpoint.Hit("dshash/update/handed")
		p.version.Add(1)
		t.settle(e.part, 1-e.hand, size)
	}
	e.ptr, e.item, e.hand = e.copied, e.copy, -1
}

// unlink takes the entry out.
func (e *entry) unlink() error {
	t, p := e.t, &e.t.parts[e.part]
	if e.ptr == 0 { // never linked: what is in the hand stays there, for the next
		t.settle(e.part, e.hand, len(e.copy))
		e.hand = -1
		return nil
	}
	_, _, size, _ := t.split(e.item)
	k := 0
	hands := &t.local[e.part].hands
	if hands[k].Pointer() != 0 {
		k = 1
	}
	if err := t.empty(e.part, k); err != nil {
		return err
	}
	hands[k].Set(e.ptr)
	failpoint.Hit("dshash/delete/old")
	l := &e.ls[e.line]
	ordered.Store(&l.slots[e.slot], 0)
	failpoint.Hit("dshash/delete/unlinked")
	ordered.Store(&l.tags, withTag(l.tags.Load(), e.slot, 0))
	failpoint.Hit("dshash/delete/tagged")
	passed(e.ls, e.h, e.line, func(l *line) { ordered.Store(&l.tags, lowered(l.tags.Load())) })
	failpoint.Hit("dshash/delete/passed")
	ordered.Store(&p.count, p.count.Load()-1)
	p.version.Add(1)
	failpoint.Hit("dshash/delete/raised")
	t.settle(e.part, k, size)
	if e.hand >= 0 {
		t.settle(e.part, e.hand, len(e.copy))
	}
	e.ptr, e.item, e.hand = 0, nil, -1
	if !e.scanned {
		t.shrink(e.part, e.ls)
	}
	return nil
}

// delete ends the hold of an entry by taking it out.
func (e *entry) delete() error {
	if e.t == nil || !e.exclusive {
		return ErrShared
	}
	if err := e.unlink(); err != nil {
		return err
	}
	e.unlock()
	return nil
}

// release ends the hold; what was changed is the table's from here on.
func (e *entry) release() {
	if e.t != nil {
		e.commit()
		e.unlock()
	}
}

// unlock ends the hold and changes nothing.
func (e *entry) unlock() {
	if e.t == nil {
		return
	}
	e.t = nil
	if !e.scanned {
		e.guard.Unlock()
	}
}
