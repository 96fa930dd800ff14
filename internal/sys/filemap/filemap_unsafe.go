//go:build linux || darwin || freebsd

package filemap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// unix.Mmap keeps a table of mappings behind a lock; the raw calls don't.

func mmap(fd, at, size int, writable bool) ([]byte, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	p, err := unix.MmapPtr(fd, int64(at), nil, uintptr(size), prot, unix.MAP_SHARED|noSync)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

func munmap(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}

// replace puts private pages with that protection in the place of b.
func replace(b []byte, protection int) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		protection, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|noReserve)
	return err
}
