// Package futex lets a goroutine sleep until another process changes a 32-bit word that both have mapped.
//
// A sleep in the kernel holds an OS thread. So one goroutine of a process sleeps there directly; all others sleep on
// channels, and one more thread, the sentry, waits in the kernel for all of their words at once (futex_waitv; a thread
// for each 127 different words).
//
// Where the system has no call that reaches across processes without cgo (everywhere but on Linux from 5.16 on),
// a goroutine that waits looks at its words at intervals that grow from 50 microseconds to a millisecond, in
// WaitLong to ten: a wake-up from another process comes up to that much late (more where the system's timers are
// coarse), and a waiter costs up to 1000 looks a second, each some microseconds of a processor. Wake reaches
// goroutines of this process alone then, at once. (An older Linux still sleeps in the kernel if one word is
// waited for without a context.)
//
// Windows could wake by a named event. But its name would have to follow from the word, and a mapping of the page file
// has no name that can be asked for: this package would have to know of segments, and each wake-up be two calls more.
package futex

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// Word is a word and what it is believed to hold.
type Word struct {
	W   *atomic.Uint32
	Val uint32
}

// Wait sleeps while *w is val, for at most d. It may return early for no reason; the caller looks at the word again.
func Wait(w *atomic.Uint32, val uint32, d time.Duration) {
	if d > 0 && failpoint.Err("futex/wait") == nil {
		wait(w, val, d)
	}
}

// WaitAny sleeps while all words hold what they are believed to, until ctx is over, for at most d. It may
// return early for no reason.
func WaitAny(ctx context.Context, d time.Duration, words ...Word) {
	if d > 0 {
		waitAny(ctx, d, words)
	}
}

// WaitLong is Wait for those who need not be woken fast and leave the direct place to others. The end of ctx ends
// it too, but on a Linux before 5.16, where a goroutine has to call Wake besides.
func WaitLong(ctx context.Context, w *atomic.Uint32, val uint32, d time.Duration) {
	if d > 0 {
		waitLong(ctx, w, val, d)
	}
}

// Wake wakes up to n of those who wait for w, in any process, and says how many. Of goroutines of one process that
// wait for w on channels it wakes all, and counts them as one.
func Wake(w *atomic.Uint32, n int) int { return wake(w, n) }

// The longest pauses between two looks.
const (
	napBriefly = time.Millisecond
	napLong    = 10 * time.Millisecond
)

// nap is Wait and WaitAny by looking again and again, with pauses up to longest, until it is woken.
func nap(ctx context.Context, d, longest time.Duration, woken <-chan struct{}, words []Word) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for pause := 50 * time.Microsecond; d > 0 && unchanged(words); pause = min(2*pause, longest) {
		pause = min(pause, d)
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-woken:
			return
		case <-ctx.Done():
			return
		}
		d -= pause
	}
}

func unchanged(words []Word) bool {
	for _, w := range words {
		if w.W.Load() != w.Val {
			return false
		}
	}
	return true
}
