//go:build darwin || freebsd

package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func shmOpen(name string, flags, mode int) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	for {
		fd, _, errno := unix.Syscall(unix.SYS_SHM_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), uintptr(mode))
		switch errno {
		case 0:
			unix.CloseOnExec(int(fd)) // POSIX has it set already
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

func shmUnlink(name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SHM_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
