package shmsync

import (
	"context"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/shm"
)

// Count is a number that lies in shared memory, only grows, and can be waited for: one side has news and adds, the
// other remembers what it has seen. Its zero value is 0. It is 4 bytes. It is bytes of its segment, as Segment.Bytes
// are: after a Detach all but Wait may fault in checked mode, and reach no other process in any.
//
// Unlike a Cond it does not know whether a process waits: each Add makes a system call. It does not look for the death of
// the process that is to add; the caller's d bounds the wait.
type Count struct {
	_ structs.HostLayout
	// n is added to by every process, wraps after 2^32 additions, and is the futex that they sleep on. A number that is
	// read late is one that was right a moment ago, and lower.
	n atomic.Uint32
}

// Load returns the number now. What was stored before the Add that made it so is visible to the caller.
func (c *Count) Load() uint32 { return c.n.Load() }

// Set makes the number at least 1, and wakes no process. It is for a Count that serves as a flag which is never taken back.
func (c *Count) Set() { c.n.CompareAndSwap(0, 1) }

// Add adds one and wakes all who wait, in that order: a process that is about to sleep finds another number than it has
// seen. One that dies between the two leaves sleepers that return after their d.
func (c *Count) Add() {
	c.n.Add(1)
	failpoint.Hit("shmsync/count/added")
	c.Nudge()
}

// Nudge wakes all who wait, without news: their Wait returns early. It does not block. A goroutine that is about to sleep
// is not woken, since the number is as it was.
func (c *Count) Nudge() { futex.Wake(&c.n, 1<<30) }

// Wait sleeps while the number is seen, for at most d, until ctx is over, or the view that the number lies in, and
// returns the number then; of a view that has ended, 0. It may return early for no reason. (A Linux before 5.16 hears
// of the end of ctx by Nudge only.)
func (c *Count) Wait(ctx context.Context, seen uint32, d time.Duration) (now uint32) {
	v := shm.ViewAt(c)
	if v == nil {
		futex.WaitLong(ctx, &c.n, seen, d)
		return c.n.Load()
	}
	contained(func() {
		if v.Ended() {
			return
		}
		short, stop := until(ctx, v)
		defer stop()
		futex.WaitLong(short, &c.n, seen, d)
		now = c.n.Load()
	})
	if v.Ended() {
		return 0
	}
	return now
}
