package batch

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Kinds of errors, for errors.Is.
var (
	// ErrFull: as many commands wait as Options.Queue allows, and Options.Full is Fail.
	ErrFull = errors.New("the queue is full")
	// ErrClosed: the engine is closed, or Close has given up before the command was executed.
	ErrClosed = errors.New("the engine is closed")
	// ErrInside: an interaction calls the engine that runs it, which would wait for itself.
	ErrInside = errors.New("called from inside an interaction of the same engine")
	// ErrPoison: the connection was lost twice while the command was alone in a transaction, and lived without it.
	ErrPoison = errors.New("the connection is lost whenever this command is executed")
	// ErrNoResult: the command was executed, and the connection was lost with its result.
	ErrNoResult = errors.New("the command was executed, and its result was lost with the connection")
	// ErrPanic: a function of the program has panicked.
	ErrPanic = errors.New("panic")
	// ErrDeposed: a driver that led under this name after this one has taken its place, or its row was deleted.
	ErrDeposed = errors.New("another process leads")
	// ErrUnsettled: a driver can't find out whether a transaction was committed.
	ErrUnsettled = errors.New("it is not known whether the transaction was committed")
)

// Executed reports whether a command that ended with an error was executed.
type Executed int

const (
	// No: it was not executed, and will not be.
	No Executed = iota
	// Yes: it was executed and committed.
	Yes
	// Maybe: it may have been executed, or may still be.
	Maybe
)

// String returns "no", "yes" or "maybe".
func (x Executed) String() string {
	switch x {
	case No:
		return "no"
	case Yes:
		return "yes"
	}
	return "maybe"
}

// An Error is what a command ends with instead of a result. Unwrap returns the cause: the driver's error, the cause of
// the end of a context, or one of the kinds of this package.
type Error struct {
	Executed Executed
	Class    Class // what the driver says the cause is; 0 where the cause is not a driver's
	Err      error
}

// Error returns the text of the cause, and whether the command was executed unless it was not.
func (e *Error) Error() string {
	if e.Executed == No {
		return fmt.Sprintf("batch: %v", e.Err)
	}
	return fmt.Sprintf("batch: %v (executed: %v)", e.Err, e.Executed)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExecutedOf reports whether the command that ended with err was executed: Yes if err is nil, what an [Error] says, and
// Maybe for any other error.
func ExecutedOf(err error) Executed {
	if err == nil {
		return Yes
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Executed
	}
	return Maybe
}

// panicked returns the error for a recovered panic.
func panicked(what string, value any) error {
	return fmt.Errorf("%s: %w: %v\n%s", what, ErrPanic, value, debug.Stack())
}
