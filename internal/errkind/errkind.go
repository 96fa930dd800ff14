// Package errkind holds the kinds of failure that all layers share.
//
// A layer returns an error that wraps one of these values and says what was being done;
// dsm and dsmimpl export them under the names that users match with errors.Is.
// It adds nothing else: no carrier type (that is dsm.Error), no codes.
package errkind

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// kind is one kind of failure. It matches itself and, where there is one, the wider kind that it belongs to: one of the
// standard library with the same meaning, or NoMemory.
type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }

func (k *kind) Is(target error) bool { return k.of != nil && target == k.of }

// The kinds. Their text is the tail of a longer message, so each says the condition and no cure.
var (
	Disabled         error = &kind{text: "dynamic shared memory is disabled (dynamic_shared_memory_type = none)"}
	NotFound         error = &kind{"no such segment", fs.ErrNotExist}
	TooManySegments  error = &kind{"too many segments", NoMemory}
	TooManyProcesses error = &kind{text: "too many processes"}
	NoSpace          error = &kind{"no space for shared memory", NoMemory}
	Size             error = &kind{"bad segment size", fs.ErrInvalid}
	Permission       error = &kind{"permission denied", fs.ErrPermission}
	NoInstance       error = &kind{text: "no running instance"}
	InUse            error = &kind{text: "the instance is in use"}
	Corrupt          error = &kind{text: "shared memory is corrupt"}
	Stale            error = &kind{text: "the instance has stopped or begun a new generation"}
	Quota            error = &kind{"quota exceeded", NoMemory}
	Closed           error = &kind{"already closed", fs.ErrClosed}
	Unsupported      error = &kind{"not supported on this system", errors.ErrUnsupported}
	Full             error = &kind{text: "no room left"}
	Exists           error = &kind{"there already", fs.ErrExist}
	NotRecoverable   error = &kind{text: "not recoverable"}
	PeerDied         error = &kind{text: "the peer died"}
	Mismatch         error = &kind{text: "it is something else"}
	Magic            error = &kind{text: "not the contents that were expected"}
	Deadlock         error = &kind{text: "the call would wait for itself"}
	Version          error = &kind{text: "another version of the layout"}

	// NoMemory is matched by Quota, NoSpace and TooManySegments, and by what else ends when others give memory back.
	NoMemory error = &kind{text: "no memory left"}
)

var kinds = []error{
	Disabled, NotFound, TooManySegments, TooManyProcesses, NoSpace, Size, Permission, NoInstance, InUse,
	Corrupt, Stale, Quota, Closed, Unsupported, Full, Exists, NotRecoverable, PeerDied, Mismatch, Magic,
	Deadlock, Version, NoMemory,
}

// Name returns err's kind in a form that can travel to another process; empty if it has none.
func Name(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	return ""
}

// Named returns the kind of that name; nil if there is none.
func Named(name string) error {
	for _, k := range kinds {
		if k.Error() == name {
			return k
		}
	}
	return nil
}

// As gives err the kind as well: the text stays err's, errors.Is matches both.
func As(kind, err error) error {
	if err == nil || errors.Is(err, kind) {
		return err
	}
	return &classed{kind, err}
}

// OtherVersion returns the error for a structure that a program has laid out by another version than this one knows. Users
// names the processes that share it with this one.
func OtherVersion(what string, found, known uint64, users string) error {
	which, cure := "older", "upgrade the program of"
	if found > known {
		which, cure = "newer", "upgrade this program, or stop"
	}
	return As(Version, fmt.Errorf("%s has layout version %d, from a program that is %s than this one, "+
		"which has version %d: %s %s", what, found, which, known, cure, users))
}

type classed struct{ kind, err error }

func (c *classed) Error() string   { return c.err.Error() }
func (c *classed) Unwrap() []error { return []error{c.kind, c.err} }

// Classify gives a system's error its kind where it has an obvious one: missing, forbidden, full.
func Classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return As(NotFound, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return As(Permission, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOMEM),
		errors.Is(err, syscall.EFBIG):
		return As(NoSpace, err)
	case errors.Is(err, errors.ErrUnsupported):
		return As(Unsupported, err)
	}
	return err
}
