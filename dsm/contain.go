package dsm

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/scope"
)

// Contain runs f, and returns its error or that of a fault: of a load or store in f's own goroutine whose bytes are
// gone, be it f's own or that of a call that it made. A fault in bytes of a segment that another process has truncated
// is ErrCorrupt, as in Segment.With; one in bytes that have ended, or that no segment of the session has at that
// moment, is ErrClosed. So Contain is one scope for many calls, also those whose docs say that a truncated segment
// ends the process: a LWLock, a Latch, TrySend, loads and stores in Segment.Bytes or in an object's bytes.
//
// After a fault Contain gives back the locks that f's goroutine took inside f and that are not released: a LWLock, a
// Mutex, an entry of a table. The next holder of one that was exclusive finds it Abandoned; a table repairs its
// partition. Locks of other goroutines, and those that f's goroutine held before, stay. Functions that f has deferred
// run first, and what they unlock is not Abandoned: a function that guards data across a fault calls Unlock without
// defer.
//
// What a program does with the bytes belongs inside, too: also the address of a field that lies 4 KiB or more behind the
// start of its struct, for which Go loads from there.
//
// Any other panic goes on, and so does runtime.Goexit; locks stay as they are then, as with a panic outside of Contain.
// Goroutines that f starts are outside. A Contain may be inside another, of another session too: what it has not given
// back when it returns is the outer one's. While a Contain runs, locks that goroutines take inside of one cost about a
// microsecond more, and Alloc and Free some nanoseconds more in all goroutines.
//
// After Close Contain is ErrClosed, and does not run f. Close does not wait for f: what f still does then finds what it
// finds outside of Contain, calls that are ErrClosed and bytes that reach no other process.
func (s *Session) Contain(f func() error) (err error) {
	err = s.mayContain()
	if err == nil && f == nil {
		err = errNoFunction
	}
	if err != nil {
		return wrapErr("contain", 0, s.backend(), err)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	in := scope.Begin()
	defer in.End()
	defer func() {
		if r := recover(); r != nil {
			err = s.errOfFault(r, in)
		}
	}()
	return f()
}

// mayContain returns why Contain must not run a function, nil if it may.
func (s *Session) mayContain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.member == nil:
		return errUnopened
	case s.state != sessionOpen:
		return ErrClosed
	}
	return nil
}

// panicAsErr calls f, and makes an error of a panic of the backend.
func panicAsErr(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the backend panicked: %s", excerpt.Print(p))
		}
	}()
	return f()
}
