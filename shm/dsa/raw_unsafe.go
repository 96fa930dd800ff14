package dsa

import "unsafe"

// This file has the package's uses of unsafe: what the checked windows of package shm do not offer.

// alignedBytes returns n zero bytes of ordinary memory that begin at a multiple of a page, as those of a mapped
// segment do.
func alignedBytes(n int) []byte {
	b := make([]byte, n+pageSize)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageSize)
	return b[off : off+n : off+n]
}

// misaligned reports whether b does not begin at a multiple of n.
func misaligned(b []byte, n uintptr) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%n != 0 }

// wordAt returns the eight bytes at off, which must be inside b, and a multiple of 8 from an aligned start: the first
// ones of a block, where a stamp is, or a place's word. The load or store through it is a plain one; see stamp for why
// that is enough.
func wordAt(b []byte, off uint64) *uint64 { return (*uint64)(unsafe.Pointer(&b[off])) }
