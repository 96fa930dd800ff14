package dsa

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
)

// corrupt returns an error that matches ErrCorrupt, for shared bytes that no session of this package has written so.
func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dsa: "+format, args...))
}

// errWaitedTooLong returns the cause of a wait that has reached its bound.
func errWaitedTooLong(most time.Duration) error {
	return fmt.Errorf("another session has held it for %v, the bound of Area.SetWait: %w", most, context.DeadlineExceeded)
}

// errFault returns the error, which matches ErrCorrupt, of a call that met that fault.
func errFault(fault error) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dsa: bytes of the area are gone from under their mapping: "+
		"a segment's object was truncated, or its file system failed (%w)", fault))
}

// errPanic returns the error of a call that ended in a panic, r: ErrClosed if the area has ended, else that of the
// fault. A panic that is no fault goes on from here.
func (a *Area) errPanic(r any) error {
	if a.head == nil { // the zero Area
		return errClosed
	}
	return a.orClosed(errFault(fault.Of(r)))
}

// orClosed returns err or, once the area has ended, ErrClosed. Each call passes its result through it, or asks for the
// end itself, after its last load of shared bytes: what was read since the end means nothing, and neither does an error
// that was made of it.
func (a *Area) orClosed(err error) error {
	if a.ends.Ended() {
		return errClosed
	}
	return err
}
