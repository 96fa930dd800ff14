// Package stdin tells a standard input that will end some day from one that has ended before anything began.
package stdin

import (
	"io"
	"os"
)

// AtEnd reports whether f has nothing to read and never will, as /dev/null or a closed pipe.
func AtEnd(f *os.File) bool {
	if !readable(f) {
		return false
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		at, err := f.Seek(0, io.SeekCurrent)
		return err == nil && at >= info.Size()
	}
	return ended(f)
}

// WaitEnd reads f, whatever comes, until it ends.
func WaitEnd(f *os.File) { _, _ = io.Copy(io.Discard, f) }
