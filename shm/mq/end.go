package mq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/bell"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// End is one end of a queue: a *Sender or a *Receiver.
type End interface {
	// ready reports whether a call that would have blocked may get further now.
	ready() bool
	base() *end
}

// end is what both ends have in this process.
type end struct {
	ring      []byte
	size      uint64 // of the ring
	batch     uint64 // so much progress is published without being asked for
	at        int    // where in the ring this end is
	mine      *side
	other     *side
	first     uint64      // where the other end was when this one attached
	published uint64      // what the other end knows of our position
	want      uint64      // bytes without which this end gets no further
	dead      bool        // the other end's process was found dead
	fault     error       // the bytes can't be trusted any more
	ended     atomic.Bool // this end is detached, or its view has ended: no byte is touched any more
	halt      atomic.Bool
	bell      atomic.Pointer[bell.Bell] // of a Conn's reader
	views     [2]*shm.View              // of the bytes, and of the session
	forget    []func()                  // take back what the views call at their end
	self      shmsync.Self
	peer      waits.Wait    // the place from which this end waits for the other one
	sleeps    atomic.Bool   // a goroutine sleeps here, or is about to
	seen      atomic.Uint64 // the other end's word when that goroutine looked at it
	spins     spin.Budget
	turns     spin.Turns
	conn      *forConn // nil unless it is a Conn's
}

func (e *end) base() *end { return e }

// checked reports whether n bytes can lie between the two positions. What can't be is the end of this end.
func (e *end) checked(n uint64) error {
	if n > e.size || n%word != 0 {
		e.fault = corrupt("%d bytes lie between the positions in a ring of %d", int64(n), e.size)
	}
	return e.fault
}

// publish tells the other end where this one is, and wakes it if it sleeps.
func (e *end) publish(pos uint64) {
	e.published = pos
	race.Release(&e.mine.pos)
	e.mine.pos.Store(onebit.Word(pos))
	failpoint.Hit("mq/publish/stored")
	e.wakeOther()
}

// wakeOther wakes the other end. Where its bell can't be reached its watcher does, once: from then on it sleeps on its word.
func (e *end) wakeOther() {
	if !e.other.wake() && e.self.Ask != nil {
		e.self.Ask(shmsync.PeerOf(e.other.user()))
	}
}

// theirs returns the other end's position.
func (e *end) theirs() uint64 {
	pos := e.other.at()
	race.Acquire(&e.other.pos)
	return pos
}

// advance moves at by n, which is at most the ring's size.
func (e *end) advance(n uint64) {
	if e.at += int(n); e.at >= len(e.ring) {
		e.at -= len(e.ring)
	}
}

var errEnded = errkind.As(ErrClosed, errors.New("this end of the queue is detached, or its segment or session is"))

// usable reports why no call can work. Every exported method asks it when it begins, after each sleep, and
// once more before it gives an answer.
func (e *end) usable() error {
	if e.ended.Load() || e.mine == nil { // nil: the zero Sender or Receiver
		return errEnded
	}
	return e.fault
}

// hasEnded reports whether this end is detached, or a view of it has ended. A view ends its ends one after another: the
// other end of the queue may have been told before this one, and then ErrDetached is not the answer.
func (e *end) hasEnded() bool {
	return e.ended.Load() || e.views[0].Ended() || e.views[1].Ended()
}

// answer is deferred by what may have met a fault, or bytes of the time after the end: then that is the error.
func (e *end) answer(err *error) {
	if e.hasEnded() {
		*err = errEnded
	}
}

// overWith returns err, or the end if that has come.
func (e *end) overWith(err error) error {
	e.answer(&err)
	return err
}

// over says why nothing more comes from the other end, if so.
func (e *end) over() error {
	switch {
	case e.ended.Load(), e.mine == nil:
		return errEnded
	case e.fault != nil:
		return e.fault
	case e.other.left():
		return ErrDetached
	case e.dead:
		return &shmsync.PeerDiedError{Peer: shmsync.PeerOf(e.other.user())}
	}
	return nil
}

// attached reports whether the other end has come, or will not.
func (e *end) attached() bool {
	return e.over() != nil || e.halt.Load() || e.other.user()&taken != 0
}

// WaitAttach waits until the other end has attached. If it has detached since, that is ErrDetached; if its process
// was named by SetSender or SetReceiver and died, ErrPeerDied; if ctx is over, its cause.
func (e *end) WaitAttach(ctx context.Context) (err error) {
	if err := e.usable(); err != nil {
		return err
	}
	defer e.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if _, err := wait(ctx, []End{&arrival{e}}); err != nil {
		return err
	}
	if err := e.over(); err != nil {
		return err
	}
	if e.other.user()&taken == 0 {
		return ErrWouldBlock // its wait was interrupted
	}
	return nil
}

// arrival is an end that waits for the other one to come.
type arrival struct{ *end }

func (a *arrival) ready() bool { return a.attached() }

// close detaches this end.
func (e *end) close() {
	e.finish()
	for _, forget := range e.forget {
		forget()
	}
}

// finish ends this end, by whichever goroutine: that of Detach, or that which ends a view, before the bytes go. It tells
// the other end, and wakes a call that waits here. Two may run it at the same time.
func (e *end) finish() {
	e.ended.Store(true)
	if e.mine == nil {
		return
	}
	e.peer.End()
	defer fault.Ignore(fault.Catch())
	failpoint.Hit("mq/detach/leaving")
	e.mine.leave()
	failpoint.Hit("mq/detach/gone")
	e.wakeOther()
	if b := e.bell.Load(); b != nil {
		b.Interrupt()
	}
	e.mine.wake()
}

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
