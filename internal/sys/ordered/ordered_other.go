//go:build !amd64 || race

package ordered

import "sync/atomic"

// Fenced reports whether what Store64 has stored is seen by others before this thread's later atomic loads are done.
const Fenced = true

// Store64 makes a store that others see whole and in its order.
func Store64(w *atomic.Uint64, v uint64) { w.Store(v) }

// Store32 is Store64 for a word of 32 bits.
func Store32(w *atomic.Uint32, v uint32) { w.Store(v) }

// LoadLoad keeps loads that come before it in the program ahead of atomic loads that come after
// it: a store that others see in order is between them.
func LoadLoad() {
	var w atomic.Uint32
	w.Swap(1)
}
