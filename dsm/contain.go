package dsm

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/shm"
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

// errOfFault makes an error of r, what a panic carried, if that is a fault, and gives back what was locked in the scope.
// Any other panic goes on, and locks stay as they are. A fault at an address that this session does not know is passed
// to the Contain around this one, whose session may know it.
func (s *Session) errOfFault(r any, in *scope.Scope) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	// Before the error is made: other processes may wait for these locks.
	in.Abandon()
	if err := s.errIfTruncated(f.Addr(), r); err != nil {
		return err
	}
	if err := shm.Fault(r); err != nil {
		return wrapErr("contain", 0, s.backend(), err)
	}
	if in.Inner() { // perhaps it is the outer one's session that knows the bytes
		panic(r)
	}
	return wrapErr("contain", 0, s.backend(), errkind.As(ErrClosed, fmt.Errorf("no segment that is attached has bytes at "+
		"address %#x: it was detached, or is of another session (%w)", f.Addr(), error(f))))
}

// errIfTruncated returns the error of a fault, r, at an address where a segment is mapped, and nil if no segment of the
// session is mapped there.
func (s *Session) errIfTruncated(addr uintptr, r any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		// makeView may have given the Segment another mapping since the fault; the one before is looked at next.
		b := a.bytes
		a.mu.Unlock()
		if !within(addr, b) {
			b = s.sharedBytesLocked(a.holding) // which Bytes returned before the first Region
		}
		if g := a.segment; g != nil && within(addr, b) {
			return g.fail("use", g.errOfFaultInWith(r, b))
		}
	}
	return nil
}

// sharedBytesLocked returns the bytes of h in the mapping that its Segments share, nil if there is none. The caller
// holds Session.mu.
func (s *Session) sharedBytesLocked(h *holding) []byte {
	switch {
	case h == nil:
		return nil
	case h.held.Entry.Page != 0 && s.member.Books.Region.Bytes != nil:
		return instance.Part(s.member.Books.Region, &h.held.Entry)
	case h.held.Entry.Page == 0 && h.held.Mapping.Bytes != nil:
		return h.held.Part()
	}
	return nil
}
