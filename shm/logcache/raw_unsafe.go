package logcache

import (
	"sync/atomic"
	"unsafe"
)

// wordAt returns the eight bytes at off, a multiple of 8, of an extent that has them.
func wordAt(extent []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&extent[off : off+8][0]))
}
