package dshash

import (
	"context"
	"encoding/binary"
	"runtime/debug"

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

// The calls of this file are scopes, in which a fault is a panic. Each of them ends its scope itself, and tells the deferred
// function by whole that it has: that function then has nothing to do.

// find finds an entry and holds it in e; if there is none it holds nothing.
func (t *core) find(ctx context.Context, key []byte, exclusive bool, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
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
	debug.SetPanicOnFault(old)
	whole = true
	return found, err
}

// hold takes the lock and looks for the entry. If it fails, e may have the lock nevertheless. The lock is not had after the
// end: it looks itself, when it is asked for and when it has been taken.
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
	if exclusive {
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
	v := l.seen.Load()
	if !v.current(p, t.area) {
		if v, err = t.linesAnew(i); err != nil {
			return err
		}
	}
	ls := v.lines
	if v.busy != nil {
		ls = t.among(v, h, key)
	}
	line, slot, at, b, ok := t.search(ls, h, key)
	if !ok {
		if line, slot, at, b, err = t.searchAgain(ls, h, key, at); err != nil {
			return err
		}
	}
	if e.ptr = at; exclusive {
		l.change.begin(h, ls, b, line, slot, v.busy != nil)
	}
	return nil
}

// among returns the array that has the entry, or the one where it would be.
func (t *core) among(v *view, h uint64, key []byte) []line {
	if _, _, at, _, ok := t.search(v.busy.old, h, key); at != 0 || !ok {
		return v.busy.old
	}
	return v.lines
}

// insert finds an entry or makes one, with a value of n zero bytes, that is linked when it is released.
func (t *core) insert(ctx context.Context, key []byte, n int, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			found, err = false, t.broken(e, recover())
		}
	}()
	if err = t.hold(ctx, key, true, e); err == nil && e.ptr == 0 {
		var value []byte
		value, err = e.prepare(ctx, key, n)
		clear(value)
	}
	if err = t.answer(err); err != nil {
		_ = t.doubted(e, err)
		e.unlock()
	}
	debug.SetPanicOnFault(old)
	whole = true
	return err == nil && e.ptr != 0, err
}

// set makes an entry's value that, whether there is one or not. Set answers ErrClosed if the area ended at any time
// before it has given its lock back: others may have the value then, or not.
func (t *core) set(ctx context.Context, key, value []byte) (err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			err = t.broken(&e, recover())
		}
	}()
	if err = t.hold(ctx, key, true, &e); err == nil {
		if err = e.put(ctx, key, value); err == nil {
			e.l = nil // unlock, in one piece
			if e.guard.Unlock(); t.ends.Ended() {
				t.settleLast()
				err = errClosed // what was changed may be in private pages
			}
		}
	}
	if err != nil {
		err = t.over(&e, err)
	}
	debug.SetPanicOnFault(old)
	whole = true
	return err
}

// over ends the hold of e, and returns err, or ErrClosed once the area has ended.
func (t *core) over(e *entry, err error) error {
	if err != nil {
		_ = t.doubted(e, err)
	}
	if ended := e.unlock(); ended || err != nil {
		return t.answer(err)
	}
	return nil
}

// put makes the entry's value that, whether it is linked or not. The call that has its lock does nothing else with it.
func (e *entry) put(ctx context.Context, key, value []byte) error {
	t, c := e.l.t, &e.l.change
	if t.cell && e.ptr != 0 {
		if !t.ends.Ended() {
			e.store(value)
		}
		return nil
	}
	to, err := e.prepare(ctx, key, len(value))
	switch {
	case err == nil:
		if assign(to, value); !t.ends.Ended() { // so the item is in the bytes that others have: see ended.go
			e.commit()
		}
	case scarce(err) && e.ptr != 0:
		ok, oerr := e.overwrite(ctx, value)
		if oerr != nil {
			return oerr
		}
		if ok {
			err = nil
			if c.busy {
				t.tend(e.l.i)
			}
		}
	}
	return err
}

// store makes a value that is a word, or nothing, another one.
func (e *entry) store(value []byte) {
	t, c := e.l.t, &e.l.change
	if len(c.item) >= t.size {
		storeCell(c.item[t.valueAt:t.size], value)
	}
	if c.busy && !e.l.scan {
		t.tend(e.l.i)
	}
}

// remove deletes an entry, if there is one. For the end of the area see set: others may have the entry then, or not, and
// found is false.
func (t *core) remove(ctx context.Context, key []byte) (found bool, err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			found, err = false, t.broken(&e, recover())
		}
	}()
	err = t.hold(ctx, key, true, &e)
	if found = err == nil && e.ptr != 0; found {
		if err = e.unlink(); err == nil {
			e.l = nil // unlock, in one piece
			if e.guard.Unlock(); t.ends.Ended() {
				t.settleLast()
				err = errClosed // what was changed may be in private pages
			}
		}
	}
	if e.l != nil || err != nil {
		err = t.over(&e, err)
	}
	debug.SetPanicOnFault(old)
	whole = true
	return found && err == nil, err
}

// item returns what the holder sees.
func (e *entry) item() []byte {
	if e.guard.Exclusive() {
		return e.l.change.item
	}
	return e.l.t.area.Peek(e.ptr)
}

// parts returns the key and the value in the item, as long as it says now; not ok if that can't be.
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
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			key, value = nil, nil
			recoverFault(recover())
		}
	}()
	key, value, _ = e.parts()
	debug.SetPanicOnFault(old)
	whole = true
	return key, value
}

// fixedValue returns the value alone, of a fixed size, as look says. It reads none of the bytes.
func (e *entry) fixedValue() []byte {
	l := e.l
	if l == nil || l.t.ends.Ended() {
		return nil
	}
	if item := e.item(); len(item) >= l.t.size {
		return item[l.t.valueAt:l.t.size:l.t.size]
	}
	return nil
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
	l := e.l
	switch {
	case l == nil:
	case e.guard.Exclusive():
		e.releaseChanged()
	case l.scan || l.t.ends.Ended():
		l.t.drop(e)
	default: // unlock, in one piece
		e.l = nil
		if e.guard.Unlock(); l.t.ends.Ended() {
			l.t.settleLast()
		}
	}
}

func (e *entry) releaseChanged() {
	t := e.l.t
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			_ = t.broken(e, recover())
		}
	}()
	if !t.ends.Ended() {
		e.commit()
	}
	e.unlock()
	debug.SetPanicOnFault(old)
	whole = true
}
