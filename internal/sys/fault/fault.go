// Package fault makes errors of faults: of loads and stores in bytes that are mapped, and whose object has been
// truncated, or made inaccessible.
//
//	defer fault.Return(&err, fault.Catch())
//
// It costs about 12 ns. What a function acquired before it faulted is its own to give back, by defer.
package fault

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
)

// Catch makes faults of this goroutine panics, and reports whether they were that before.
func Catch() (was bool) { return debug.SetPanicOnFault(true) }

// Return undoes Catch, and stores a fault in err, as Corrupt. Other panics go on.
func Return(err *error, was bool) { Restore(err, was, recover()) }

// Restore is Return for a deferred function that has called recover itself, which returned r.
func Restore(err *error, was bool, r any) {
	debug.SetPanicOnFault(was)
	if f := Of(r); f != nil {
		*err = errkind.As(errkind.Corrupt, fmt.Errorf("shared bytes are gone from under their mapping: "+
			"the object was truncated, or its file system failed (%w)", f))
	}
}

// Ignore is Return for a function without an error, which has nothing more to do after a fault.
func Ignore(was bool) {
	debug.SetPanicOnFault(was)
	_ = Of(recover())
}

// Contain runs f and returns its error, or that of a fault.
func Contain(f func() error) (err error) {
	defer Return(&err, Catch())
	return f()
}

// Go runs f in a goroutine of its own, where a fault ends f and no more. A goroutine that a library starts has no caller
// that a fault could be an error of.
func Go(f func()) {
	go func() {
		defer Ignore(Catch())
		f()
	}()
}

// Of returns the fault that r, which recover returned, is; nil if there was no panic. Any other panic goes on.
func Of(r any) error {
	if r == nil {
		return nil
	}
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	return f
}
