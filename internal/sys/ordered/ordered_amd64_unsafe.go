//go:build amd64 && !race

package ordered

import (
	"sync/atomic"
	"unsafe"
)

// Fenced reports whether what Store64 has stored is seen by others before this thread's later atomic loads are done.
const Fenced = false

// Store64 makes a store that others see whole and in its order, as all of this processor's are; an
// atomic one would wait for the store buffer as well, which costs as much as a lock. A process
// that is killed has made all its stores up to one instruction, and none after it.
func Store64(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }

// Store32 is Store64 for a word of 32 bits.
func Store32(w *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(w)) = v }

// LoadLoad keeps loads that come before it in the program ahead of atomic loads that come after
// it, as this processor does of itself.
func LoadLoad() {}
