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
	guard     shmsync.Guard
	h         uint64
	ls        []line
	ptr       dsa.Pointer // of the item that is linked; 0 if there is none
	item      []byte      // what the holder sees: that, or the copy that is to be linked, or what a failed update left of that
	part      int32
	line      int32
	slot      int8
	hand      int8 // that has the copy; -1: there is none
	exclusive bool
	scanned   bool // the lock is the scan's
}

// find finds an entry and holds it; if there is none it holds nothing.
func (e *entry) find(ctx context.Context, t *core, key []byte, exclusive bool) (found bool, err error) {
	if err = e.hold(ctx, t, key, exclusive); err != nil || e.ptr == 0 {
		e.unlock()
		return false, err
	}
	return true, nil
}

// hold takes the lock and looks for the entry. The lock is the caller's unless t is nil then.
func (e *entry) hold(ctx context.Context, t *core, key []byte, exclusive bool) (err error) {
	h := hashOf(key, t.seed)
	i := t.part(h)
	g, err := t.lock(ctx, i, exclusive)
	if err != nil {
		return err
	}
	e.t, e.guard, e.h, e.part, e.hand, e.exclusive = t, g, h, int32(i), -1, exclusive
	if e.ls, err = t.lines(i); err != nil || e.ls == nil {
		return err
	}
	line, slot, p, b, err := t.searchLocked(e.ls, h, key)
	e.line, e.slot, e.ptr, e.item = int32(line), int8(slot), p, b
	return err
}

// insert finds an entry or makes one, with a value of n zero bytes, that is linked when it is released.
func (e *entry) insert(ctx context.Context, t *core, key []byte, n int) (found bool, err error) {
	if err = e.hold(ctx, t, key, true); err == nil && e.ptr == 0 {
		var value []byte
		value, err = e.prepare(key, n)
		clear(value)
	}
	if err != nil {
		e.unlock()
		return false, err
	}
	return e.ptr != 0, nil
}

// set makes an entry's value that, whether there is one or not.
func (t *core) set(ctx context.Context, key, value []byte) error {
	var e entry
	err := e.hold(ctx, t, key, true)
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
	var e entry
	err = e.hold(ctx, t, key, true)
	if found = err == nil && e.ptr != 0; found {
		err = e.unlink()
	}
	e.unlock()
	return found && err == nil, err
}

// prepare puts an item for key and a value of n bytes into a hand, to be linked by commit, and returns where the value goes. There is
// room for it then.
func (e *entry) prepare(key []byte, n int) (value []byte, err error) {
	size, err := e.t.itemSize(key, n)
	if err != nil {
		return nil, err
	}
	if e.ptr == 0 {
		if err := e.makeRoom(); err != nil {
			return nil, err
		}
	}
	hand, item, err := e.t.fetch(int(e.part), size)
	if err != nil {
		return nil, err
	}
	e.hand, e.item = int8(hand), item
	return e.t.format(item, key), nil
}

// update prepares a value of n bytes, if sizes are not fixed, which begins as the present one does and goes on with zeros.
func (e *entry) update(n int) ([]byte, error) {
	if e.t == nil || !e.exclusive {
		return nil, ErrShared
	}
	if _, err := e.t.itemSize(e.key(), n); err != nil {
		return nil, err
	}
	if e.hand >= 0 {
		if value := e.value(); e.t.kind == kindFixed || len(value) == n {
			return value, nil
		}
		e.item, e.hand = cloned(e.item), -1 // the copy is in the way of the next
	}
	key, value := e.key(), e.value()
	to, err := e.prepare(key, n)
	if err != nil {
		if e.ptr != 0 {
			e.item, _ = e.t.at(e.ptr)
		}
		return nil, err
	}
	clear(to[copy(to, value):])
	return to, nil
}

func (e *entry) key() []byte {
	key, _, _, _ := e.t.split(e.item)
	return key[:len(key):len(key)]
}

func (e *entry) value() []byte {
	_, from, to, _ := e.t.split(e.item)
	return e.item[from:to:to]
}

// commit makes the copy, if there is one, what the table has: by one store of the slot.
func (e *entry) commit() {
	if e.hand < 0 {
		return
	}
	t, p := e.t, &e.t.parts[e.part]
	hands := &t.local[e.part].hands
	copied := hands[e.hand].Pointer()
	if e.ptr == 0 {
		l := &e.ls[e.line]
		passed(e.ls, e.h, int(e.line), func(l *line) { ordered.Store64(&l.tags, raised(l.tags.Load())) })
		failpoint.Hit("dshash/insert/passed")
		ordered.Store64(&l.slots[e.slot], uint64(copied))
		failpoint.Hit("dshash/insert/linked")
		ordered.Store64(&l.tags, withTag(l.tags.Load(), int(e.slot), tagOf(e.h)))
		failpoint.Hit("dshash/insert/tagged")
		hands[e.hand].Clear()
		failpoint.Hit("dshash/insert/handed")
		ordered.Store64(&p.count, p.count.Load()+1)
	} else {
		hands[1-e.hand].Set(e.ptr)
		failpoint.Hit("dshash/update/old")
		ordered.Store64(&e.ls[e.line].slots[e.slot], uint64(copied))
		failpoint.Hit("dshash/update/linked")
		hands[e.hand].Clear()
		failpoint.Hit("dshash/update/handed")
		p.raise()
		t.settle(int(e.part), int(1-e.hand))
	}
	e.ptr, e.hand = copied, -1
}

// unlink takes the entry out.
func (e *entry) unlink() error {
	t, p := e.t, &e.t.parts[e.part]
	if e.ptr == 0 { // never linked: what is in the hand stays there, for the next
		if e.hand >= 0 {
			t.settle(int(e.part), int(e.hand))
		}
		e.hand = -1
		return nil
	}
	k := 0
	hands := &t.local[e.part].hands
	if hands[k].Pointer() != 0 {
		k = 1
	}
	if err := t.empty(int(e.part), k); err != nil {
		return err
	}
	hands[k].Set(e.ptr)
	failpoint.Hit("dshash/delete/old")
	l := &e.ls[e.line]
	ordered.Store64(&l.slots[e.slot], 0)
	failpoint.Hit("dshash/delete/unlinked")
	ordered.Store64(&l.tags, withTag(l.tags.Load(), int(e.slot), 0))
	failpoint.Hit("dshash/delete/tagged")
	passed(e.ls, e.h, int(e.line), func(l *line) { ordered.Store64(&l.tags, lowered(l.tags.Load())) })
	failpoint.Hit("dshash/delete/passed")
	ordered.Store64(&p.count, p.count.Load()-1)
	p.raise()
	failpoint.Hit("dshash/delete/raised")
	t.settle(int(e.part), k)
	if e.hand >= 0 {
		t.settle(int(e.part), int(e.hand))
	}
	e.ptr, e.item, e.hand = 0, nil, -1
	if !e.scanned {
		t.shrink(int(e.part), e.ls)
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
