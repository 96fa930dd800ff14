//go:build !amd64 || race

package dsa

import "sync/atomic"

// store is a store that others see whole and in its order.
func store(w *atomic.Uint64, v uint64) { w.Store(v) }

func clear32(w *atomic.Uint32) { w.Store(0) }
