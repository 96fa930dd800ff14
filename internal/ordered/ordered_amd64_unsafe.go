//go:build amd64 && !race

package ordered

import (
	"sync/atomic"
	"unsafe"
)

// Store is a store that others see whole and in its order, as all of this processor's are; an atomic one would wait for the store buffer as well, which
// costs as much as a lock. A process that is killed has made all its stores up to one instruction, and none after it.
func Store(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// LoadLoad keeps loads that come before it in the program ahead of atomic loads that come after it, as this processor does of itself.
func LoadLoad() {}
