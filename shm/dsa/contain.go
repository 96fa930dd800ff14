package dsa

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
)

// This file holds what makes errors of two things that can happen in the middle of a call: a fault, when bytes are gone
// from under a mapping, and the end of the area, after which bytes are private pages or another object's. Both are
// checked for at the end of a call, since neither can be kept away from its middle.

// contained runs f and returns its error. A fault in shared bytes, because an object of the source was truncated, is
// ErrCorrupt. What f locks it unlocks by defer. Other panics go on. Calls of contained may be nested.
func (a *Area) contained(f func() error) (err error) {
	if a.head == nil { // the zero Area
		return errClosed
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if f := fault.Of(recover()); f != nil {
			err = errFault(f)
		}
	}()
	return f()
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
