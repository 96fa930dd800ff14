package dshash

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
)

// corrupt returns an error that matches ErrCorrupt, with the text that it is given.
func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dshash: "+format, args...))
}

// isShortage reports whether an error means that memory could not be allocated: there is none, or a lock of the area was
// not free in time. Such an update can go on in place.
func isShortage(err error) bool {
	return err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSize)
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

// orClosed returns err or, once the area has ended, ErrClosed: what was read since then means nothing, and an error
// that was made of it means nothing either.
func (t *core) orClosed(err error) error {
	if t.ends.Ended() {
		return errClosed
	}
	return err
}
