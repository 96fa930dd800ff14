// Package futex lets a process sleep until another one changes a 32-bit word that both have mapped.
//
// On Linux the kernel wakes the sleeper. Elsewhere there is no call that reaches across processes without cgo, so
// Wait looks at the word at growing intervals of up to a millisecond, and Wake has nothing to do.
package futex

import (
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// Wait sleeps while *w is val, for at most d. It may return early for no reason; the caller looks at the
// word again. It blocks its thread.
func Wait(w *atomic.Uint32, val uint32, d time.Duration) {
	if failpoint.Err("futex/wait") == nil {
		wait(w, val, d)
	}
}

// Wake wakes up to n of those who wait for w, in any process.
func Wake(w *atomic.Uint32, n int) { wake(w, n) }
