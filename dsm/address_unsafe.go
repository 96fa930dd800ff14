package dsm

import "unsafe"

// address returns where b begins.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// addressWithin reports whether addr is one of b's bytes, up to its capacity.
func addressWithin(addr uintptr, b []byte) bool {
	return addr >= address(b) && addr-address(b) < uintptr(cap(b))
}
