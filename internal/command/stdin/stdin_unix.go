//go:build unix

package stdin

import (
	"os"

	"golang.org/x/sys/unix"
)

// readable reports whether a read would return at once, be it with nothing.
func readable(f *os.File) bool {
	p := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0
}

// ended reports whether what is readable is the end. It reads a byte; there is no other way to tell data from an end. What
// is read is lost, which is of no matter to a caller that waits for an end alone.
func ended(f *os.File) bool {
	n, _ := f.Read(make([]byte, 1))
	return n == 0
}
