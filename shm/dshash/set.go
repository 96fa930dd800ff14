package dshash

import (
	"context"
	"runtime/debug"
)

// Set and Delete of a table: one change under one lock, without an entry that the program sees.

// set makes value the key's, whether there is an entry or not. It waits as insert does. If there is no memory for a
// copy it overwrites the entry's item if the new one fits there, and waits for the reserve's lock for that.
//
// If the area ended at any time before the lock is given back the answer is ErrClosed: others may have the value then,
// or not.
func (t *core) set(ctx context.Context, key, value []byte) (err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			err = t.errPanic(&e, recover())
		}
	}()
	if err = t.lockAndFind(ctx, key, true, &e); err == nil {
		if err = e.put(ctx, key, value); err == nil {
			// This is entry.unlock without its cases, since it is the frequent way.
			e.l = nil
			if e.guard.Unlock(); t.ends.Ended() {
				t.releaseLast()
				err = errClosed // what was changed may be in private pages
			}
		}
	}
	if err != nil {
		err = t.releaseWith(&e, err)
	}
	debug.SetPanicOnFault(old)
	whole = true
	return err
}

// releaseWith ends the hold of e, whose call had that error, and returns the error or, once the area has ended,
// ErrClosed. After ErrCorrupt it leaves the partition marked as one to be repaired.
func (t *core) releaseWith(e *entry, err error) error {
	if err != nil {
		_ = t.dirtyIfCorrupt(e, err)
	}
	if ended := e.unlock(); ended || err != nil {
		return t.orClosed(err)
	}
	return nil
}

// put makes value the entry's, whether it is linked or not. The call that has the lock does nothing else with it: so
// what put leaves in local.change after a failure is not looked at again.
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
		// If the area has not ended by now, the item is in the bytes that others have: so what the slot is about to
		// lead to is whole for them too. See ended.go.
		if assign(to, value); !t.ends.Ended() {
			e.commit()
		}
	// There is no memory for a copy; the value may fit where the present one is. If it does not, err says that there
	// is no memory.
	case isShortage(err) && e.ptr != 0:
		ok, oerr := e.overwrite(ctx, value)
		if oerr != nil {
			return oerr
		}
		if ok {
			err = nil
			if c.busy {
				t.stepOrShrink(e.l.i)
			}
		}
	}
	return err
}

// store makes value, which has a cell's length, the entry's by one store. So it is seen whole or not at all, by
// readers without the lock and after a death of this process. An item that is too near to the end of its segment for
// a value is left alone: that takes a pointer which a stray store has changed, and the search has refused most of
// those.
func (e *entry) store(value []byte) {
	t, c := e.l.t, &e.l.change
	if len(c.item) >= t.size {
		storeCell(c.item[t.valueAt:t.size], value)
	}
	if c.busy && !e.l.scan {
		t.stepOrShrink(e.l.i)
	}
}

// remove takes out the entry with that key, and reports whether there was one. It waits as find does, and needs no
// memory. A session that dies in it leaves the entry whole or gone.
//
// For the end of the area see set: others may have the entry then, or not, and found is false.
func (t *core) remove(ctx context.Context, key []byte) (found bool, err error) {
	var e entry
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			found, err = false, t.errPanic(&e, recover())
		}
	}()
	err = t.lockAndFind(ctx, key, true, &e)
	if found = err == nil && e.ptr != 0; found {
		if err = e.unlink(); err == nil {
			e.l = nil // unlock, in one piece
			if e.guard.Unlock(); t.ends.Ended() {
				t.releaseLast()
				err = errClosed // what was changed may be in private pages
			}
		}
	}
	if e.l != nil || err != nil {
		err = t.releaseWith(&e, err)
	}
	debug.SetPanicOnFault(old)
	whole = true
	return found && err == nil, err
}
