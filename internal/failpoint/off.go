//go:build !failpoint

package failpoint

// Hit marks a place where a process may die or be held up.
func Hit(point string) {}

// Err marks a system call that may fail, and is the error that it is to fail with; nil: make the call.
func Err(point string) error { return nil }
