package mq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/shm/shmsync"
)

// WaitAny waits until one of the ends may get further: a Receiver that was ErrWouldBlock has more bytes, a Sender
// more room, or the other end is detached or dead. It says which, the first of them; the next TryReceive or
// TrySend on it tells what happened, which may be ErrWouldBlock again. It ends too when ctx is over, with its
// cause. An end that is ready wins over that.
func WaitAny(ctx context.Context, ends ...End) (int, error) {
	if len(ends) == 0 {
		return -1, errors.New("no end of a queue to wait for")
	}
	for i, end := range ends {
		if end.base().usable() != nil {
			return i, nil
		}
	}
	return waitContained(ctx, ends)
}

func waitContained(ctx context.Context, ends []End) (i int, err error) {
	defer fault.Return(&err, fault.Catch())
	if i, err = wait(ctx, ends); err != nil {
		for i, end := range ends {
			if end.base().ended.Load() {
				return i, nil
			}
		}
	}
	return i, err
}

// Where no watcher wakes an end that waits, it asks after minPatience, then more rarely, up to every maxPatience.
const (
	minPatience = time.Millisecond
	maxPatience = 8 * time.Millisecond
	// connPatience is that of a Conn's reader, of whom there may be thousands in one process.
	connPatience = 16 * time.Millisecond
)

func wait(ctx context.Context, ends []End) (int, error) {
	first := -1
	ready := func() bool {
		for i, e := range ends {
			if b := e.base(); b.peer.Settle() {
				b.ask()
			}
			if e.ready() {
				first = i
				return true
			}
		}
		return false
	}
	if ready() || ends[0].base().spin(ready) {
		return first, nil
	}
	words := make([]futex.Word, len(ends))
	defer func() {
		for _, e := range ends {
			e.base().sleeps.Store(false)
			if e.base().ended.Load() {
				continue
			}
			if s := &e.base().mine.sleep; s.Load()&asleep != 0 {
				s.And(^uint32(asleep))
			}
		}
	}()
	for patience := minPatience; ; patience = min(2*patience, maxPatience) {
		told := true // the watcher wakes this goroutine if it has to ask
		for i, e := range ends {
			b := e.base()
			s := &b.mine.sleep
			words[i] = futex.Word{W: s, Val: s.Or(asleep) | asleep}
			b.sleeps.Store(true)
			b.seen.Store(b.other.pos.Load())
			told = b.peer.Join(b.other.user()&^taken) && told
		}
		failpoint.Hit("mq/wait/asleep")
		if ready() {
			return first, nil
		}
		if ctx.Err() != nil {
			return -1, ends[0].base().waited(len(ends), context.Cause(ctx))
		}
		late := true
		e := ends[0].base()
		switch {
		case len(ends) == 1 && e.rung() && told:
			e.conn.bell.Wait(0)
		case len(ends) == 1 && e.rung():
			late = e.conn.bell.Wait(connPatience)
		case told:
			futex.WaitAny(ctx, within(ctx, forever), words...)
		default:
			futex.WaitAny(ctx, within(ctx, patience), words...)
		}
		failpoint.Hit("mq/wait/woken")
		if ready() {
			return first, nil
		}
		if told || !late {
			continue
		}
		for _, e := range ends {
			e.base().ask()
		}
	}
}

// waited returns the error of a wait that has ended with cause.
func (e *end) waited(ends int, cause error) error {
	p := shmsync.PeerOf(e.other.user())
	switch {
	case ends > 1:
		return fmt.Errorf("none of %d ends of queues gets further: %w", ends, cause)
	case p.Row < 0 || p.Row >= shmsync.MaxRows:
		return fmt.Errorf("the queue's other end has not come: %w", cause)
	}
	return fmt.Errorf("the queue's other end is %s: %w", e.self.Name(p), cause)
}

// forever bounds the sleep of an end that its watcher wakes.
const forever = 24 * time.Hour

// rouse makes a goroutine that sleeps here, or is about to, look again. The watcher calls it.
func (e *end) rouse() {
	if e.ended.Load() || !e.sleeps.Load() {
		return
	}
	defer fault.Ignore(fault.Catch())
	if e.rung() {
		e.conn.bell.Interrupt()
	} else {
		e.mine.rouse()
	}
}

// late reports whether a goroutine sleeps here that would find something new, or whose word has lost that it sleeps.
func (e *end) late() (is bool) {
	if e.ended.Load() || !e.sleeps.Load() {
		return false
	}
	defer fault.Ignore(fault.Catch())
	return e.mine.sleep.Load()&asleep == 0 || e.other.pos.Load() != e.seen.Load() || e.other.left()
}

// busy is how long others run that have something to do.
const busy = 2 * time.Microsecond

// spinner says that a goroutine of this process looks again and again.
var spinner atomic.Bool

// spin looks for a short while, before it comes to sleeping. One goroutine of a process does at a time, and
// lets others run now and then.
func (e *end) spin(ready func() bool) bool {
	if e.conn != nil {
		return e.conn.spin(ready, &e.halt)
	}
	if !spinner.CompareAndSwap(false, true) {
		return false
	}
	defer spinner.Store(false)
	looks := 0
	return e.spins.Unless(func() (done, stop bool) {
		if looks++; looks%64 == 0 {
			begin := time.Now()
			if runtime.Gosched(); time.Since(begin) > busy {
				return false, true
			}
		}
		if e.halt.Load() {
			return false, true
		}
		return ready(), false
	}) || e.halt.Load() || e.turns.Until(ready)
}

// ask finds out whether the other end's process is alive, if it is known.
func (e *end) ask() {
	if p := e.other.user(); p != 0 && !e.self.Alive(shmsync.PeerOf(p)) {
		e.dead = true
	}
}

// within returns d, or less if ctx ends earlier.
func within(ctx context.Context, d time.Duration) time.Duration {
	if t, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(t)), 0)
	}
	return d
}
