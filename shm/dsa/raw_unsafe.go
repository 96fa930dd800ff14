package dsa

import "unsafe"

// aligned returns n zero bytes that begin at a multiple of a page.
func aligned(n int) []byte {
	b := make([]byte, n+pageSize)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageSize)
	return b[off : off+n : off+n]
}

// misaligned reports whether b does not begin at a multiple of n.
func misaligned(b []byte, n uintptr) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%n != 0 }

// first returns the first eight bytes of a block, which begins at a multiple of 16.
func first(b []byte, off uint64) *uint64 { return (*uint64)(unsafe.Pointer(&b[off])) }
