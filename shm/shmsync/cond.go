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

// Cond is a condition variable that lies in shared memory: a caller that waits for a condition sleeps until a process
// says that it may be true now. Its zero value is ready. It is 4 bytes; it knows no process by name, so it needs no
// handle.
//
//	t := c.Prepare()
//	for !ready() {
//		if err = t.Sleep(ctx); err != nil {
//			break
//		}
//	}
//	t.Cancel()
//
// No lock goes with it: the process that makes the condition true stores that atomically, or under a lock, and then
// calls Signal or Broadcast; since Prepare comes before the look, none is missed.
//
// It does not promise that a Sleep ends because of news, nor that a Signal wakes no more than one, nor an order among
// those that wait. It keeps no list of them: a process that dies asleep leaves a set bit, which the next Signal
// clears.
//
// After its segment was detached or truncated no method faults, and none reaches another process.
//
//	bit 0      a process may be asleep
//	bits 1-31  goes up with every Signal and Broadcast
type Cond struct {
	_ structs.HostLayout
	// w is changed by every process, and is the futex that they sleep on. Its count wraps after 2^31 signals: a
	// goroutine that is stopped between its look and its sleep, and overtaken by exactly so many, sleeps on, for
	// condCheck at most.
	w atomic.Uint32
}

const (
	condSleep = 1 // bit 0 of a Cond
	condNews  = 2 // one more in bits 1-31
)

// Ticket is one goroutine's place among those who wait. The zero Ticket waits for nothing: its Sleep is ErrClosed. It is
// private to its goroutine, and needs no release: Cancel passes a wake-up on, and gives nothing back.
type Ticket struct {
	c    *Cond
	seen uint32 // the word when the caller last became one of those who wait, with condSleep
}

// Prepare makes the caller one of those who wait: what is signalled from now on ends its Sleep. It does not block. The
// caller looks at its condition after Prepare: a process that makes it true later than that look calls Signal later
// still, and so changes the word that the ticket has seen.
//
// A process that dies after it has set the bit leaves it set. A later Signal finds no sleeper and clears it.
func (c *Cond) Prepare() (t Ticket) {
	defer fault.Ignore(fault.Catch())
	t.c = c
	t.seen = c.w.Or(condSleep) | condSleep
	failpoint.Hit("shmsync/cond/prepared")
	return t
}

var errNoTicket = errkind.As(shm.ErrClosed, errors.New("the zero Ticket waits for nothing: call Cond.Prepare"))

// condCheck bounds a sleep: the one goroutine that a Signal woke may have died or been stopped before it acted on the
// news, or the process that signalled before it woke any, and no further Signal may come.
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

// sleep is Sleep in the view v, which may end during it. A fault is its error.
//
// After the sleep it prepares the next one, in the same step in which it learns what has come: so news between this
// return and the next Sleep ends that one. News wins over a context that is over.
func (t *Ticket) sleep(ctx context.Context, v *shm.View) (err error) {
	defer fault.Return(&err, fault.Catch())
	if v.Ended() {
		return v.Err()
	}
	if t.c.w.Load() == t.seen && ctx.Err() == nil {
		short, stop := contextUntilEnd(ctx, v)
		futex.WaitAny(short, withinDeadline(ctx, condCheck), futex.Word{W: &t.c.w, Val: t.seen})
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

// contextUntilEnd returns a context that ends with ctx and with the view, and what the caller calls when it has no
// more use for it.
func contextUntilEnd(ctx context.Context, v *shm.View) (context.Context, func()) {
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

// Cancel ends the waiting. A Signal that the caller may have been chosen for, and has not slept on, is passed on: it may
// have been meant for one goroutine, and this one does not act on it. Cancel may so wake a goroutine for nothing. It
// does not block, and the ticket may be used on.
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

// Signal wakes one of those who wait: one that is alive and asleep, and possibly others. A process that was stopped
// (SIGSTOP) in its sleep is not asleep, and gets no wake-up. One that is stopped between its wake-up and what it does then
// keeps the news from the others until it goes on, or they look by themselves: for a second at most. Where that is too
// late, Broadcast wakes all. If none is asleep Signal ends the next Sleep of all that have called Prepare. It does not block, and makes a system call only if a process may be
// asleep. What the caller has stored before is seen by a goroutine whose Sleep it ends.
func (c *Cond) Signal() {
	defer fault.Ignore(fault.Catch())
	c.signal()
}

// signal does what Signal says; a fault is the caller's. The count is raised before the wake-up: a goroutine that is
// about to sleep finds another word than it has seen, and does not. A process that dies between the two leaves
// sleepers that look by themselves after condCheck.
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

// Broadcast wakes all who wait, in every process. It does not block, and makes a system call only if a process may be
// asleep.
func (c *Cond) Broadcast() {
	defer fault.Ignore(fault.Catch())
	c.broadcast()
}

// broadcast does what Broadcast says; a fault is the caller's. One swap raises the count and clears the bit: whichever
// goroutine sets the bit afterwards has seen the new count, and is not one of those to be woken.
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
