package shmsync

import (
	"context"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/futex"
	"github.com/godsm/godsm/internal/race"
)

// Cond is a condition variable that lies in shared memory: who waits for a condition sleeps until somebody says
// that it may be true now. Its zero value is ready. It is 4 bytes; it knows nobody by name, so it needs no handle.
//
//	t := c.Prepare()
//	for !ready() {
//		if err = t.Sleep(ctx); err != nil {
//			break
//		}
//	}
//	t.Cancel()
//
// No lock goes with it: whoever makes the condition true stores that atomically, or under a lock, and then calls Signal
// or Broadcast; since Prepare comes before the look, none is missed.
//
//	bit 0      somebody may be asleep
//	bits 1-31  goes up with every Signal and Broadcast
type Cond struct {
	_ structs.HostLayout
	w atomic.Uint32
}

const (
	condSleep = 1
	condNews  = 2
)

// Ticket is one goroutine's place among those who wait.
type Ticket struct {
	c    *Cond
	seen uint32
}

// Prepare makes the caller one of those who wait: what is signalled from now on ends its Sleep.
func (c *Cond) Prepare() Ticket {
	t := Ticket{c, c.w.Or(condSleep) | condSleep}
	failpoint.Hit("shmsync/cond/prepared")
	return t
}

// condCheck bounds a sleep: a signal that woke one who died of it may have been all that there was to come.
const condCheck = time.Second

// Sleep waits until something has been signalled since Prepare or the last Sleep, or until ctx is over, whose cause it
// returns. It may return nil without news, and does so at least once a second; the caller looks at the condition again.
func (t *Ticket) Sleep(ctx context.Context) error {
	if t.c.w.Load() == t.seen && ctx.Err() == nil {
		futex.WaitAny(ctx, within(ctx, condCheck), futex.Word{W: &t.c.w, Val: t.seen})
		failpoint.Hit("shmsync/cond/woken")
	}
	before := t.seen
	t.seen = t.c.w.Or(condSleep) | condSleep
	failpoint.Hit("shmsync/cond/slept")
	race.Acquire(&t.c.w)
	if t.seen == before && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Cancel ends the waiting. A Signal that the caller may have been chosen for, and has not slept on, is passed on.
func (t *Ticket) Cancel() {
	if t.c.w.Load() != t.seen {
		failpoint.Hit("shmsync/cond/cancelled")
		t.c.Signal()
	}
}

// Signal wakes one of those who wait: one that is alive and asleep, and possibly others. If none is asleep it ends
// the next Sleep of all that have called Prepare.
func (c *Cond) Signal() {
	race.Release(&c.w)
	if c.w.Add(condNews)&condSleep == 0 {
		return
	}
	failpoint.Hit("shmsync/cond/signalled")
	if futex.Wake(&c.w, 1) == 0 {
		failpoint.Hit("shmsync/cond/nobody")
		c.Broadcast() // nobody was asleep: so the flag goes, with all who come between
	}
}

// Broadcast wakes all who wait.
func (c *Cond) Broadcast() {
	race.Release(&c.w)
	for {
		w := c.w.Load()
		if c.w.CompareAndSwap(w, (w+condNews)&^condSleep) {
			failpoint.Hit("shmsync/cond/broadcast")
			if w&condSleep != 0 {
				futex.Wake(&c.w, all)
			}
			return
		}
	}
}
