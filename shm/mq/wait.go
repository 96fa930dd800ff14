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

// Waits of an end for the other one, or of several ends for any of theirs.
//
// A wait looks, spins for a short while, and sleeps. Before it sleeps it sets a bit in its own word, and then looks
// once more; the other end stores its position first, and then looks at the bit. So one of the two sees what the
// other has stored, and no wake-up is lost. The sleep ends by a wake-up of the other end, by the session's watcher
// when the other end's process has died, by the end of a view or of the context, or early for no reason. A session
// without a watcher makes its goroutines ask for the other end's process from time to time.
//
// What a wait does not do: decide what the news is. It returns when an end is ready, and the end's next call finds
// out.

// WaitAny waits until one of the ends may get further, and returns its index, the first if there are several: a
// Receiver that was ErrWouldBlock has more bytes, a Sender more room, or the other end is detached or dead, or this
// end is over. The next TryReceive or TrySend on it tells what happened, which may be ErrWouldBlock again. It ends
// too when ctx is over, with its cause; an end that is ready wins over that. The ends belong to the calling goroutine
// until it returns.
func WaitAny(ctx context.Context, ends ...End) (int, error) {
	if len(ends) == 0 {
		return -1, errors.New("no end of a queue to wait for")
	}
	for i, end := range ends {
		if end.base().errIfUnusable() != nil {
			return i, nil
		}
	}
	return waitContained(ctx, ends)
}

// waitContained waits, and makes an error of a fault in an end's bytes. An end that is over is an answer and no
// error.
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

// Where a goroutine sleeps for an end.
const (
	awake  = iota // nowhere
	onWord        // on the word of its side
	atBell        // at its Conn's bell
)

// How long an end sleeps before it asks whether the other end's process lives, if no watcher wakes it for that:
// minPatience at first, then longer each time, up to maxPatience.
const (
	minPatience = time.Millisecond
	maxPatience = 8 * time.Millisecond
	// connPatience is that of a Conn's reader, of which there may be thousands in one process.
	connPatience = 16 * time.Millisecond
)

// wait waits until one of the ends is ready, and returns its index. It returns the cause of ctx if that is over
// before. Its caller catches faults: it reads words of all ends. The ends belong to the calling goroutine.
func wait(ctx context.Context, ends []End) (int, error) {
	first := -1
	ready := func() bool {
		for i, e := range ends {
			// The watcher has marked the place, or the place is new: ask whether the other end's process lives.
			if b := e.base(); b.peer.TakeDoubt() {
				b.askForPeer()
			}
			if e.ready() {
				first = i
				return true
			}
		}
		return false
	}
	if ready() || ends[0].base().spinWait(ready) {
		return first, nil
	}
	words := make([]futex.Word, len(ends))
	// No goroutine sleeps here any more. The other ends need not make a system call for that.
	defer func() {
		for _, e := range ends {
			e.base().sleeps.Store(awake)
			if e.base().ended.Load() {
				continue
			}
			if s := &e.base().mine.sleep; s.Load()&asleep != 0 {
				s.And(^uint32(asleep))
			}
		}
	}()
	for patience := minPatience; ; patience = min(2*patience, maxPatience) {
		// The watcher wakes this goroutine if it has to ask, for each of the ends.
		told := true
		where := uint32(onWord)
		if len(ends) == 1 && ends[0].base().wokenByBell() {
			where = atBell
		}
		for i, e := range ends {
			b := e.base()
			s := &b.mine.sleep
			// The bit is set before the last look at ready, below. The value with it is what the sleep expects: if
			// another process wakes this end from here on, the value is another, and the sleep does not begin.
			words[i] = futex.Word{W: s, Val: s.Or(asleep) | asleep}
			// What rouse and late look at, in the watcher's goroutine.
			b.sleeps.Store(where)
			b.seen.Store(b.other.pos.Load())
			told = b.peer.Join(b.other.userWord()&^taken) && told
		}
		failpoint.Hit("mq/wait/asleep")
		if ready() {
			return first, nil
		}
		if ctx.Err() != nil {
			return -1, ends[0].base().errWaited(len(ends), context.Cause(ctx))
		}
		late := true
		e := ends[0].base()
		// With a watcher the sleep is as long as it may be; without, patience ends it. A Conn's reader sleeps at its
		// bell.
		switch {
		case where == atBell && told:
			e.conn.bell.Wait(0)
		case where == atBell:
			late = e.conn.bell.Wait(connPatience)
		case told:
			futex.WaitAny(ctx, waitWithinDeadline(ctx, gone), words...)
		default:
			futex.WaitAny(ctx, waitWithinDeadline(ctx, patience), words...)
		}
		failpoint.Hit("mq/wait/woken")
		if ready() {
			return first, nil
		}
		if told || !late {
			continue
		}
		// There is no watcher, and no wake-up came for as long as patience is: ask.
		for _, e := range ends {
			e.base().askForPeer()
		}
	}
}

// errWaited returns the error of a wait for so many ends that has ended with cause. It names the other end's session if
// it is known.
func (e *end) errWaited(ends int, cause error) error {
	p := shmsync.PeerOf(e.other.userWord())
	switch {
	case ends > 1:
		return fmt.Errorf("none of %d ends of queues gets further: %w", ends, cause)
	case p.Row < 0 || p.Row >= shmsync.MaxRows:
		return fmt.Errorf("the queue's other end has not come: %w", cause)
	}
	return fmt.Errorf("the queue's other end is %s: %w", e.self.Name(p), cause)
}

// gone bounds the sleep on a word of an end that its watcher wakes: where the bytes have been truncated under the sleeper, no
// wake-up reaches it, and it finds that by itself.
const gone = time.Second

// waitIsLate reports whether a goroutine sleeps here that would find something new, or whose word has lost that it sleeps:
// then a wake-up was lost. The session's watcher calls it once a second.
func (e *end) waitIsLate() (is bool) {
	if e.ended.Load() || e.sleeps.Load() == awake {
		return false
	}
	defer fault.Ignore(fault.Catch())
	return e.mine.sleep.Load()&asleep == 0 || e.other.pos.Load() != e.seen.Load() || e.other.hasLeft()
}

// busy is how long runtime.Gosched takes at least if other goroutines have something to do.
const busy = 2 * time.Microsecond

// spinner is true while a goroutine of this process looks again and again. One does at a time, so that the others get
// the processor.
var spinner atomic.Bool

// spinWait looks for a short while before a sleep, and reports whether ready or the end of the wait has come. One
// goroutine of a process does so at a time, and lets others run now and then; if those have much to do it stops.
func (e *end) spinWait(ready func() bool) bool {
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

// waitWithinDeadline returns d, or less if ctx ends earlier; not less than 0.
func waitWithinDeadline(ctx context.Context, d time.Duration) time.Duration {
	if t, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(t)), 0)
	}
	return d
}
