//go:build linux

package futex

import (
	"sync/atomic"
	"unsafe"
)

func wordAt(b []byte) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(b))) }
