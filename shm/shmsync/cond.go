package shmsync

import (
	"context"
	"errors"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/shm"
)

// Cond is a condition variable that lies in shared memory: a caller that waits for a condition sleeps until a process says
// that it may be true now. Its zero value is ready. It is 4 bytes; it knows no process by name, so it needs no handle.
//
//	t := c.Prepare()
//	for !ready() {
//		if err = t.Sleep(ctx); err != nil {
//			break
//		}
//	}
//	t.Cancel()
//
// No lock goes with it: the process that makes the condition true stores that atomically, or under a lock, and then calls Signal
// or Broadcast; since Prepare comes before the look, none is missed.
//
// After its segment was detached or truncated no method faults, and none reaches another process.
//
//	bit 0      a process may be asleep
//	bits 1-31  goes up with every Signal and Broadcast
type Cond struct {
	_ structs.HostLayout
	w atomic.Uint32
}

const (
	condSleep = 1
	condNews  = 2
)

// Ticket is one goroutine's place among those who wait. The zero Ticket waits for nothing: its Sleep is ErrClosed.
type Ticket struct {
	c    *Cond
	seen uint32
}

// Prepare makes the caller one of those who wait: what is signalled from now on ends its Sleep.
func (c *Cond) Prepare() (t Ticket) {
	defer fault.Ignore(fault.Catch())
	t.c = c
	t.seen = c.w.Or(condSleep) | condSleep
	failpoint.Hit("shmsync/cond/prepared")
	return t
}

var errNoTicket = errkind.As(shm.ErrClosed, errors.New("the zero Ticket waits for nothing: call Cond.Prepare"))

// condCheck bounds a sleep: a signal that woke one who died of it may have been all that there was to come.
const condCheck = time.Second

// Sleep waits until something has been signalled since Prepare or the last Sleep, or until ctx is over, whose cause it
// returns. It may return nil without news, and does so at least once a second; the caller looks at the condition again.
// When the view that the Cond lies in ends, it returns ErrClosed; when its bytes are gone, ErrCorrupt.
func (t *Ticket) Sleep(ctx context.Context) error {
	if t.c == nil {
		return errNoTicket
	}
	v := shm.ViewAt(t.c)
	return v.Answer(t.sleep(ctx, v))
}

func (t *Ticket) sleep(ctx context.Context, v *shm.View) (err error) {
	defer fault.Return(&err, fault.Catch())
	if v.Ended() {
		return v.Err()
	}
	if t.c.w.Load() == t.seen && ctx.Err() == nil {
		short, stop := until(ctx, v)
		futex.WaitAny(short, within(ctx, condCheck), futex.Word{W: &t.c.w, Val: t.seen})
		stop()
		failpoint.Hit("shmsync/cond/woken")
	}
	if v.Ended() {
		return v.Err()
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

// until returns a context that ends with ctx and with the view.
func until(ctx context.Context, v *shm.View) (context.Context, func()) {
	if v == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := v.OnEnd(cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// Cancel ends the waiting. A Signal that the caller may have been chosen for, and has not slept on, is passed on.
func (t *Ticket) Cancel() {
	if t.c == nil {
		return
	}
	defer fault.Ignore(fault.Catch())
	if t.c.w.Load() != t.seen {
		failpoint.Hit("shmsync/cond/cancelled")
		t.c.signal()
	}
}

// Signal wakes one of those who wait: one that is alive and asleep, and possibly others. If none is asleep it ends
// the next Sleep of all that have called Prepare.
func (c *Cond) Signal() {
	defer fault.Ignore(fault.Catch())
	c.signal()
}

func (c *Cond) signal() {
	race.Release(&c.w)
	if c.w.Add(condNews)&condSleep == 0 {
		return
	}
	failpoint.Hit("shmsync/cond/signalled")
	if futex.Wake(&c.w, 1) == 0 {
		failpoint.Hit("shmsync/cond/nobody")
		c.broadcast() // no process was asleep: so the flag goes, with all who come between
	}
}

// Broadcast wakes all who wait.
func (c *Cond) Broadcast() {
	defer fault.Ignore(fault.Catch())
	c.broadcast()
}

func (c *Cond) broadcast() {
	race.Release(&c.w)
	for {
		w := c.w.Load()
		if c.w.CompareAndSwap(w, (w+condNews)&^condSleep) {
			failpoint.Hit("shmsync/cond/broadcast")
			if w&condSleep != 0 {
				wake(&c.w)
			}
			return
		}
	}
}
