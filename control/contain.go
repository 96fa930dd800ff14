package control

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// contained runs f with faults as errors, outside of any section.
func contained(f func() error) (err error) {
	defer containFault(&err, debug.SetPanicOnFault(true))
	return f()
}

// containFault ends a stretch in which faults are errors; it must be deferred itself. Was is what
// debug.SetPanicOnFault was.
func containFault(err *error, was bool) {
	if r := recover(); r != nil {
		*err = containedPanic(r)
	}
	debug.SetPanicOnFault(was)
}

// containedPanic makes an error of what a section panicked with. All that it returns is ErrCorrupt.
func containedPanic(r any) error {
	if err, ok := r.(error); ok {
		if errors.Is(err, ErrCorrupt) {
			return err
		}
		if _, fault := r.(interface{ Addr() uintptr }); fault { // the runtime calls it a nil pointer
			return fmt.Errorf("control segment: %w: its bytes are gone from under the mapping: "+
				"another process truncated the object, or its file system failed", ErrCorrupt)
		}
		return fmt.Errorf("control segment: %w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("control segment: %w: %v", ErrCorrupt, r)
}
