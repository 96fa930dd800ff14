//go:build race

package race

import (
	"runtime"
	"unsafe"
)

// page is no larger than the granularity of mappings anywhere.
const page = 4096

var proxies [page]byte

func proxy[T any](w *T) unsafe.Pointer {
	return unsafe.Pointer(&proxies[uintptr(unsafe.Pointer(w))%page])
}

// Acquire orders what follows after every Release of w.
func Acquire[T any](w *T) { runtime.RaceAcquire(proxy(w)) }

// Release orders what came before ahead of every later Acquire of w.
func Release[T any](w *T) { runtime.RaceReleaseMerge(proxy(w)) }
