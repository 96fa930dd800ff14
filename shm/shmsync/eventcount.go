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

// EventCount is a number that lies in shared memory, only grows, and can be waited for: one side has news and adds, the
// other remembers what it has seen. Its zero value is 0. It is 4 bytes. It is bytes of its segment, as Segment.Bytes
// are: after a Detach all but Await may fault in checked mode, and reach no other process in any.
//
// Unlike a Cond it does not know whether a process waits: each Advance makes a system call. It does not look for the
// death of the process that is to add; the caller's d bounds the wait.
type EventCount struct {
	_ structs.HostLayout
	// n is added to by every process, wraps after 2^32 additions, and is the futex that they sleep on. A number that is
	// read late is one that was right a moment ago, and lower.
	n atomic.Uint32
}

// Load returns the number now. What was stored before the Advance that made it so is visible to the caller.
func (c *EventCount) Load() uint32 { return c.n.Load() }

// Set makes the number at least 1, and wakes no process. It is for an EventCount that serves as a flag which is never
// taken back.
func (c *EventCount) Set() { c.n.CompareAndSwap(0, 1) }

// Advance adds one and wakes all who wait, in that order: a process that is about to sleep finds another number than
// it has seen. One that dies between the two leaves sleepers that return after their d.
func (c *EventCount) Advance() {
	c.n.Add(1)
	failpoint.Hit("shmsync/count/added")
	c.WakeAll()
}

// WakeAll wakes all who wait, without news: their Await returns early. It does not block. A goroutine that is about to
// sleep is not woken, since the number is as it was.
func (c *EventCount) WakeAll() { futex.Wake(&c.n, 1<<30) }

// Await sleeps while the number is seen, for at most d, until ctx is over, or the view that the number lies in, and
// returns the number then; of a view that has ended, 0. It may return early for no reason. (A Linux before 5.16 hears
// of the end of ctx by WakeAll only.)
func (c *EventCount) Await(ctx context.Context, seen uint32, d time.Duration) (now uint32) {
	v := shm.ViewAt(c)
	if v == nil {
		futex.WaitLong(ctx, &c.n, seen, d)
		return c.n.Load()
	}
	endAtFault(func() {
		if v.Ended() {
			return
		}
		short, stop := contextUntilEnd(ctx, v)
		defer stop()
		futex.WaitLong(short, &c.n, seen, d)
		now = c.n.Load()
	})
	if v.Ended() {
		return 0
	}
	return now
}
