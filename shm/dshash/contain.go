package dshash

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
)

// contained runs f, and returns its error or, if f met a fault in shared bytes, ErrCorrupt. Any other panic goes on.
// What f locks it unlocks by defer.
func (t *core) contained(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if f := fault.Of(recover()); f != nil {
			err = t.errFault(f)
		}
	}()
	return f()
}

// errFault returns the error for a fault: ErrCorrupt, or ErrClosed after the end.
func (t *core) errFault(fault error) error {
	return t.orClosed(errkind.As(ErrCorrupt, fmt.Errorf("dshash: bytes of the table are gone from under their mapping: "+
		"a segment's object was truncated, or its file system failed (%w)", fault)))
}

// errPanic returns the error of a scope that ended in the panic r, and gives back the lock of e if it has one. If r is
// a fault, and the lock was exclusive, the partition is marked first: the next holder repairs it. Any other panic
// goes on, with the lock held.
func (t *core) errPanic(e *entry, r any) error {
	f := fault.Of(r)
	if l := e.l; l != nil {
		// The mark comes before the lock is given back, so no holder can miss it. Each is in a scope of its own: the
		// bytes of the one may be gone and those of the other not.
		_ = t.contained(func() error {
			if e.guard.Exclusive() {
				t.parts[l.i].dirty.Store(1)
			}
			return nil
		})
		_ = t.contained(func() error {
			e.unlock()
			return nil
		})
	}
	return t.errFault(f)
}

// dirtyIfCorrupt returns err, the error of what was done with the lock of e. If it is ErrCorrupt it marks the
// partition, so that the next holder repairs it. After the end of the area it does not: what looked wrong may be
// private pages.
func (t *core) dirtyIfCorrupt(e *entry, err error) error {
	if e.l != nil && errors.Is(err, ErrCorrupt) && !t.ends.Ended() {
		t.parts[e.l.i].dirty.Store(1)
	}
	return err
}

// containedHold runs f, in which e may take a lock, and returns its error, a fault's, or ErrClosed once the area has
// ended. After a fault the lock of e is given back; else f or the caller does so.
func (t *core) containedHold(e *entry, f func() error) (err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			err = t.errPanic(e, recover())
		}
	}()
	err = f()
	whole = true
	return t.orClosed(err)
}

// orClosed returns err or, once the area has ended, ErrClosed: what was read since then means nothing, and an error
// that was made of it means nothing either.
func (t *core) orClosed(err error) error {
	if t.ends.Ended() {
		return errClosed
	}
	return err
}
