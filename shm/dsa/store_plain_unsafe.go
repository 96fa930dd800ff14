//go:build amd64 && !race

package dsa

import (
	"sync/atomic"
	"unsafe"
)

// store is a store that others see whole and in its order, as all of this processor's are; an atomic one would wait for the store buffer as well, which
// costs as much as a lock. A process that is killed has made all its stores up to one instruction, and none after it.
func store(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

func clear32(w *atomic.Uint32) { *(*uint32)(unsafe.Pointer(w)) = 0 }
