//go:build linux

package compat

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrOtherTable says that another table guards the store at the moment.
	ErrOtherTable = errors.New("another lock table guards the store")
	// ErrOldInProcess says that this process holds the lock file by the older library.
	ErrOldInProcess = errors.New("this process holds the lock file by the older library")
	// ErrSelf says that an owner that holds a part of the store asks for the whole.
	ErrSelf = errors.New("the owner holds a part of the store, and would wait for itself")
	// ErrNotHeld says that the lock was given back before.
	ErrNotHeld = errors.New("the lock is not held")
	// ErrClosed says that the Store is closed.
	ErrClosed = errors.New("the store is closed")
)

// WaitError is the end of a wait for the lock file.
type WaitError struct {
	Path   string
	Pid    int // of an older program that holds it; 0: none was seen, or it is one of this package's
	Waited time.Duration
	Err    error
}

func (e *WaitError) Error() string {
	who := "others hold it"
	if e.Pid > 0 {
		who = fmt.Sprintf("process %d holds it", e.Pid)
	}
	return fmt.Sprintf("compat: lock %s: waited %v: %s: %v", e.Path, e.Waited.Round(time.Millisecond), who, e.Err)
}

func (e *WaitError) Unwrap() error { return e.Err }
