//go:build linux

package swaptest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// swapped puts private zeros, or pages that are inaccessible, in the place of b, in one step for whatever goroutines do with it.
func swapped(b []byte, inaccessible bool) error {
	access := unix.PROT_READ | unix.PROT_WRITE
	if inaccessible {
		access = unix.PROT_NONE
	}
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), access,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	return err
}
