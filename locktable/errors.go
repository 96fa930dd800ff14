package locktable

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrHeld      = errors.New("the lock is held")                              // of TryLock and TryLockMany
	ErrBusy      = errors.New("the partition of the lock is in use")           // of the same: it is not known whether the lock is held
	ErrSelf      = errors.New("the owner holds the lock already")              // and would wait for itself
	ErrUpgrade   = errors.New("another holder waits for a stronger mode, too") // of Upgrade
	ErrNotHeld   = errors.New("the lock is not held any more")                 // by this Hold
	ErrDeadlock  = errkind.Deadlock
	ErrClosed    = errkind.Closed   // the table or its session has been closed, or its generation has ended
	ErrFull      = errkind.Full     // the session has as many holds and waits, or owners, as there can be
	ErrNoMemory  = errkind.NoMemory // the instance or the system has none
	ErrCorrupt   = shm.ErrCorrupt
	ErrVersion   = errkind.Version
	ErrNotFound  = errkind.NotFound
	ErrPermitted = errkind.Permission
)

// Party is a holder of a lock, or one that waits for it.
type Party struct {
	Pid         int
	Application string
	Owner       uint32 // the number of the owner in its process; 0: none was named
	Note        string // what the owner does, as Table.As or Owner.Note has it
	Mode        Mode
	For         time.Duration // how long it has held, or waited. Of a hold whose begin was not seen, how long at least
	Waits       bool
	Called      bool // of one that waits: its turn has come, and it has not run yet
	Passed      bool // of one that waits: its turn had come, and it did not run in time

	// Session names its session as other errors do, with process, application and whether that is running or stopped.
	// It is set in the holders of an error of a wait alone, and in what OnWait is given.
	Session string

	peer shmsync.Peer
}

func (p Party) String() string {
	s := p.Session
	if s == "" {
		s = fmt.Sprintf("pid %d", p.Pid)
		if p.Application != "" {
			s += " (" + p.Application + ")"
		}
	}
	if p.Note != "" {
		s += fmt.Sprintf(" %q", p.Note)
	}
	verb := "holds it"
	if p.Waits {
		verb = "waits for it"
	}
	return fmt.Sprintf("%s %s %s for %v", s, verb, p.Mode, p.For.Round(time.Millisecond))
}

// mostNamed is how many holders an error names.
const mostNamed = 3

// WaitError ends a wait, or is why TryLock failed. It matches what it wraps: the cause of the context, ErrHeld,
// ErrDeadlock.
type WaitError struct {
	Name    string // the path, with slashes
	Mode    Mode   // what was asked for
	Holders []Party
	Ahead   int // that were before this waiter in the queue
	Waited  time.Duration
	Cycle   []Edge // of a deadlock
	Err     error
}

func (e *WaitError) Unwrap() error { return e.Err }

func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "locktable: lock %s %s: %v", e.Name, e.Mode, e.Err)
	if e.Waited > 0 {
		fmt.Fprintf(&b, " after %v", e.Waited.Round(time.Millisecond))
	}
	for i, h := range e.Holders {
		if i == mostNamed {
			fmt.Fprintf(&b, "; and %d more", len(e.Holders)-i)
			break
		}
		fmt.Fprintf(&b, "; %v", h)
	}
	if e.Ahead > 0 {
		fmt.Fprintf(&b, "; %d waited before it", e.Ahead)
	}
	for i, x := range e.Cycle {
		if i == 0 {
			b.WriteString("; the cycle: ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(x.String())
	}
	return b.String()
}

// Edge is one step of a cycle: a waiter, what it waits for, and what of that the next one holds, or waits for before it.
type Edge struct {
	Waiter  Party
	Holder  Party // the waiter of the next edge
	Name    string
	Wanted  Mode
	Holding string // of the holder: its mode of Name, or that it waits before
}

func (e Edge) String() string {
	return fmt.Sprintf("pid %d %q wants %s %s, which pid %d %q %s", e.Waiter.Pid, e.Waiter.Note, e.Name, e.Wanted,
		e.Holder.Pid, e.Holder.Note, e.Holding)
}

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("locktable: "+format, args...))
}

func invalid(format string, args ...any) error {
	return errkind.As(fs.ErrInvalid, fmt.Errorf("locktable: "+format, args...))
}
