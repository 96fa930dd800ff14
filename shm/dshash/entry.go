package dshash

import (
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Entries that are held, and the calls that find and hold them. Set and Delete are in set.go.
//
// Each call that may touch shared bytes is a scope: it makes faults of its goroutine panics (debug.SetPanicOnFault),
// and notes by a variable, whole, that it came to its end. If it did not, core.errPanic gives the lock back, marks the
// partition as one to be repaired if the lock was exclusive, and makes an error of the fault. That is written out in
// the calls that are frequent, which a closure would slow down; the rare ones use core.containedHold.
//
// An entry does not protect its holder from the end of the area. So each call asks for the end before it stores what
// others are led to, and before it answers; ended.go says why that suffices.

// entry is an entry that is held: by its partition's lock. It is four words, so that it stays in registers on its way
// to the caller: more are copied from one stack frame to the next, which costs as much as half the lookup. What the
// holder of an exclusive lock needs besides is in local.change. It belongs to one goroutine at a time.
type entry struct {
	// l is that of its partition, or a scan's; nil once the hold is over.
	l     *local
	guard shmsync.Guard
	// ptr is the item that a slot leads to; 0 if there is none yet, or no longer.
	ptr dsa.Pointer
}

// find finds the entry with that key and holds it in e, shared or exclusively, and reports whether there is one; if
// there is none, or on an error, nothing is held. It waits for the partition's lock until ctx is over, and repairs
// the partition if it must. The errors are ctx's cause, ErrClosed, ErrCorrupt, and what attaching a segment returns.
func (t *core) find(ctx context.Context, key []byte, exclusive bool, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			found, err = false, t.errPanic(e, recover())
		}
	}()
	err = t.dirtyIfCorrupt(e, t.lockAndFind(ctx, key, exclusive, e))
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

// arrayWith returns the array that has the entry, while entries move from the old array to the new one, or the new array
// if neither has it. The caller holds the partition's lock, so nothing moves, and an entry is in one of them only. It
// attaches the segments of items whose tags are the key's: only a search of the old array that has come to its end
// says that the entry is not there. To take the old array for the entry's before that would hide an entry that is in
// the new one, and would put a new entry into an array from which nothing moves any more.
func (t *core) arrayWith(v *view, h uint64, key []byte) ([]line, error) {
	_, _, at, _, ok := t.searchLines(v.busy.old, h, key)
	if !ok {
		var err error
		if _, _, at, _, err = t.searchMapped(v.busy.old, h, key, at); err != nil {
			return nil, err
		}
	}
	if at != 0 {
		return v.busy.old, nil
	}
	return v.lines, nil
}

// insert finds an entry or makes one, with a value of n zero bytes, and holds it exclusively in e; it reports whether
// it was there. A new one is in a hand until release links it, so a session that dies before that leaves nothing. It
// waits as find does, and for the area's locks if it allocates. If it fails nothing is held and nothing has changed;
// then the error can also be ErrSize or that there is no memory.
func (t *core) insert(ctx context.Context, key []byte, n int, e *entry) (found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			found, err = false, t.errPanic(e, recover())
		}
	}()
	if err = t.lockAndFind(ctx, key, true, e); err == nil && e.ptr == 0 {
		var value []byte
		value, err = e.prepare(ctx, key, n)
		clear(value)
	}
	if err = t.orClosed(err); err != nil {
		_ = t.dirtyIfCorrupt(e, err)
		e.unlock()
	}
	debug.SetPanicOnFault(old)
	whole = true
	return err == nil && e.ptr != 0, err
}

// itemBytes returns the bytes that the holder sees: for an exclusive one its copy, once it has one; otherwise those from
// the linked item to the end of its segment.
func (e *entry) itemBytes() []byte {
	if e.guard.Exclusive() {
		return e.l.change.item
	}
	return e.l.t.area.Peek(e.ptr)
}

// keyValue returns the key and the value in the item, in place. It reports false if the lengths that the item has by now
// reach beyond its bytes, as after a stray store.
func (e *entry) keyValue() (key, value []byte, ok bool) {
	item := e.itemBytes()
	key, from, to, ok := e.l.t.splitItem(item)
	if !ok {
		return nil, nil, false
	}
	return key[:len(key):len(key)], item[from:to:to], true
}

// heldKeyValue returns key and value in place for methods that return no error: nil for both once the entry is
// released, the area has ended, or the item is garbled. A fault is nil too, and the entry stays held.
func (e *entry) heldKeyValue() (key, value []byte) {
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
	key, value, _ = e.keyValue()
	debug.SetPanicOnFault(old)
	whole = true
	return key, value
}

// fixedValue returns the value of an entry of fixed size in place, or nil as look does. It reads none of the bytes,
// so it can't fault; the caller's own loads can.
func (e *entry) fixedValue() []byte {
	l := e.l
	if l == nil || l.t.ends.Ended() {
		return nil
	}
	if item := e.itemBytes(); len(item) >= l.t.size {
		return item[l.t.valueAt:l.t.size:l.t.size]
	}
	return nil
}

// copyKey copies the key to to, which has its length; nothing if the entry is over or garbled.
func (e *entry) copyKey(to []byte) {
	if e.l == nil || e.l.t.ends.Ended() {
		return
	}
	_ = e.l.t.contained(func() error {
		key, _, _ := e.keyValue()
		copy(to, key)
		return nil
	})
	// What was copied may be zeros of private pages, or half of that.
	if e.l.t.ends.Ended() {
		clear(to)
	}
}

// delete takes the entry out and ends the hold. An entry that is not held exclusively is ErrShared and stays held; so
// does one that could not be taken out, since a hand could not be emptied.
func (e *entry) delete() error {
	if e.l == nil || !e.guard.Exclusive() {
		return ErrShared
	}
	t := e.l.t
	return t.containedHold(e, func() error {
		if t.ends.Ended() {
			e.unlock()
			return errClosed
		}
		if err := e.unlink(); err != nil {
			return err
		}
		e.forgetCopies()
		e.unlock()
		return nil
	})
}

// release ends the hold. What update was asked for is the table's from here on, unless the area has ended; then
// nothing has changed. A second call does nothing. A fault is swallowed, and marks the partition; but with a shared
// lock, whose release is as short as possible, it is the caller's.
func (e *entry) release() {
	l := e.l
	switch {
	case l == nil:
	case e.guard.Exclusive():
		e.releaseChanged()
	case l.scan || l.t.ends.Ended():
		l.t.dropLock(e)
	default:
		// This is entry.unlock without its cases, since it is the frequent way.
		e.l = nil
		if e.guard.Unlock(); l.t.ends.Ended() {
			l.t.releaseLast()
		}
	}
}

// releaseChanged is called by release for an exclusive hold: it commits the change, if there is one, and gives the
// lock back.
func (e *entry) releaseChanged() {
	t := e.l.t
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			_ = t.errPanic(e, recover())
		}
	}()
	if !t.ends.Ended() {
		e.commit()
		e.forgetCopies()
	}
	e.unlock()
	debug.SetPanicOnFault(old)
	whole = true
}
