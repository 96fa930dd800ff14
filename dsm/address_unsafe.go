package dsm

import "unsafe"

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// within says whether addr is on a page that b has bytes on.
func within(addr uintptr, b []byte) bool {
	return addr >= address(b) && addr-address(b) < uintptr(cap(b))
}
