package dshash

import (
	"context"
	"errors"
	"io/fs"

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
