package dsa

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
)

// contained runs f, in which a fault in shared bytes is ErrCorrupt: an object of the source has been truncated. What f
// locks it unlocks by defer.
func (a *Area) contained(f func() error) (err error) {
	if a.head == nil { // the zero Area
		return errClosed
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if f := fault.Of(recover()); f != nil {
			err = errGone(f)
		}
	}()
	return f()
}

func errGone(fault error) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dsa: bytes of the area are gone from under their mapping: "+
		"a segment's object was truncated, or its file system failed (%w)", fault))
}

// broken is the error of a call that ended in a panic, r.
func (a *Area) broken(r any) error {
	if a.head == nil { // the zero Area
		return errClosed
	}
	return a.answer(errGone(fault.Of(r)))
}

// answer is err or, once the area has ended, ErrClosed: what was read since then means nothing.
func (a *Area) answer(err error) error {
	if a.ends.Ended() {
		return errClosed
	}
	return err
}
