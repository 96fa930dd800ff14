//go:build !linux

package futex

import (
	"sync/atomic"
	"time"
)

func wait(w *atomic.Uint32, val uint32, d time.Duration) {
	for nap := 50 * time.Microsecond; d > 0 && w.Load() == val; nap = min(2*nap, time.Millisecond) {
		nap = min(nap, d)
		time.Sleep(nap)
		d -= nap
	}
}

func wake(*atomic.Uint32, int) {}
