package dshash

import (
	"errors"
	"runtime/debug"

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
