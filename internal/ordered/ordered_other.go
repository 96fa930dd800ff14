//go:build !amd64 || race

package ordered

import "sync/atomic"

// Store is a store that others see whole and in its order.
func Store(w *atomic.Uint64, v uint64) { w.Store(v) }

// LoadLoad keeps loads that come before it in the program ahead of atomic loads that come after it: a store that others see in order is
// between them.
func LoadLoad() {
	var w atomic.Uint32
	w.Swap(1)
}
