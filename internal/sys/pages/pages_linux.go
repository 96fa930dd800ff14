package pages

import (
	"os"

	"github.com/godsm/godsm/internal/errkind"
	"golang.org/x/sys/unix"
)

// GiveBack gives the memory of mapped bytes back to the system, as far as they are whole pages; they read as zero until they
// are written to. It does so for all who have the object mapped.
func GiveBack(b []byte) error {
	if b = whole(b); len(b) == 0 {
		return nil
	}
	switch err := unix.Madvise(b, unix.MADV_REMOVE); err {
	case unix.EINVAL, unix.EOPNOTSUPP: // ordinary memory, or a file system without holes: it keeps the memory
		return nil
	default:
		return errkind.Classify(os.NewSyscallError("madvise", err))
	}
}

// TakeBack makes the system have memory for the bytes again. Without it the first store might fault.
func TakeBack(b []byte) error {
	if b = whole(b); len(b) == 0 {
		return nil
	}
	for {
		switch err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err {
		case unix.EINTR, unix.EAGAIN:
		case unix.EINVAL: // an old system: a store will tell
			return nil
		case unix.EFAULT: // in the system's words: a store would be SIGBUS
			return errkind.As(errkind.NoSpace, os.NewSyscallError("madvise", err))
		default:
			return errkind.Classify(os.NewSyscallError("madvise", err))
		}
	}
}
