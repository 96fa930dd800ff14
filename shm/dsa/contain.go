package dsa

import (
	"runtime/debug"

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
