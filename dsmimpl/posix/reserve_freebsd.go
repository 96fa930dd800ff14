package posix

import (
	"context"
	"strconv"

	"golang.org/x/sys/unix"
)

// reserve asks posix_fallocate, which FreeBSD 13 and later know for shared-memory objects; an older kernel
// refuses, and memory then comes when it is touched.
func reserve(_ context.Context, fd int, n int64) error {
	if strconv.IntSize == 32 {
		return nil // the call takes its numbers in pairs of registers there, a way no process has tried
	}
	for {
		errno, _, _ := unix.Syscall(unix.SYS_POSIX_FALLOCATE, uintptr(fd), 0, uintptr(n)) // returns its error
		switch err := unix.Errno(errno); err {
		case unix.EINTR:
		case unix.ENOSPC, unix.ENOMEM:
			return err
		default:
			return nil
		}
	}
}
