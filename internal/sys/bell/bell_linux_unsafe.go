//go:build linux

package bell

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func send(fd int, name uint64) unix.Errno {
	to := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	path := address(name)
	*(*[len(path)]byte)(unsafe.Pointer(&to.Path)) = path
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&path)), 1,
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to)), unsafe.Offsetof(to.Path)+uintptr(len(path)))
	return errno
}

// taken takes one ring, and reports whether there was one.
func taken(fd uintptr) bool {
	var b [1]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT, 0, 0)
	return errno == 0
}
