package dshash

import (
	"context"
	"errors"
	"io/fs"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
)

var errNoFunction = errkind.As(fs.ErrInvalid, errors.New("dshash: Update was given no function"))

// update makes a key's value what f returns. It calls f with the present value, in place, and whether there is one; a
// fixed value is copied to fixed before that.
//
// The partition's lock is held while f runs, and nothing else: no copy is in a hand, and nothing is linked. So there is
// nothing to undo if f fails, panics or ends its goroutine, nor if the process dies in it. What f returns is put into
// the table as by set.
func (t *core) update(ctx context.Context, key, fixed []byte, f func(value []byte, existed bool) ([]byte, error)) error {
	var e entry
	returned := false
	defer func() {
		if !returned {
			t.dropLock(&e)
		}
	}()
	// Take the partition and look for the entry. The value is copied here, where a fault is an error.
	var value []byte
	err := t.containedHold(&e, func() (err error) {
		if err = t.lockAndFind(ctx, key, true, &e); err != nil || e.ptr == 0 {
			return err
		}
		_, is, ok := e.keyValue()
		if !ok {
			return corrupt("the item at %v is longer than its segment", e.ptr)
		}
		copy(fixed, is)
		value = is
		return nil
	})
	if err == nil {
		// The function runs outside of containedHold, so that its own panics and faults stay what they are.
		//
		// An error of f's own says nothing of the partition, so it does not come to dirtyIfCorrupt.
		if value, err = f(value, e.ptr != 0); err != nil {
			returned = true
			t.dropLock(&e)
			return err
		}
		err = t.containedHold(&e, func() error { return e.put(ctx, key, value) })
	}
	// Over gives the lock back, and looks whether the area had ended by then: if so nothing has been changed.
	returned = true
	return t.containedHold(&e, func() error { return t.releaseWith(&e, err) })
}

// copyForUpdate does for update what needs no scope: it makes the copy, or returns the one that there is. Without
// memory it makes an image, if the new item fits into the linked one's object.
func (e *entry) copyForUpdate(n int) ([]byte, error) {
	t, c := e.l.t, &e.l.change
	if t.kind == kindFixed && e.ptr != 0 {
		return e.copyWholeItem()
	}
	key, value, ok := e.keyValue()
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
		// The copy that an earlier update has made is in the hand that fetch would use. Its contents go to this
		// process's own memory; the object stays in the hand, which owns it.
		c.dropped = max(c.dropped, len(c.item))
		c.item, c.hand = cloneAligned(c.item), none
		if key, value, ok = e.keyValue(); !ok {
			return nil, corrupt("the item of a change does not fit what it says")
		}
	}
	to, err := e.prepare(context.Background(), key, n)
	if err != nil {
		if e.ptr == 0 {
			return nil, err
		}
		// The linked item is there still. The holder sees it again, and if the new value fits into its object the
		// change can be made in place by commit.
		old, oerr := t.checkedObject(e.ptr)
		if oerr != nil {
			return nil, oerr
		}
		if !isShortage(err) || size > len(old) {
			c.item = old
			return nil, err
		}
		item := c.newImage(size)
		to = t.formatItem(item, key)
		c.item = item
	}
	clear(to[copy(to, value):])
	return to, nil
}

// update returns a value of n bytes to write to (n does not count if sizes are fixed), which begins as the present
// one does and goes on with zeros. Release puts it into the table. It is valid until release or the next update. An
// entry that is not held exclusively is ErrShared; a length that no value can have is ErrSize, and changes nothing.
func (e *entry) update(n int) (to []byte, err error) {
	if e.l == nil || !e.guard.Exclusive() {
		return nil, ErrShared
	}
	t := e.l.t
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			to, err = nil, t.errPanic(e, recover())
		}
	}()
	to, err = e.copyForUpdate(n)
	whole = true
	if t.ends.Ended() {
		return nil, errClosed
	}
	return to, err
}
