// Package pages gives the memory behind mapped bytes back to the system, and asks for it again, while the mappings stay.
package pages

import (
	"os"
	"unsafe"
)

// whole returns the part of b that is whole pages.
func whole(b []byte) []byte {
	page := os.Getpagesize()
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & uintptr(page-1))
	if skip >= len(b) {
		return nil
	}
	b = b[skip:]
	return b[:len(b)&^(page-1)]
}
