package mq

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/bell"
	"github.com/godsm/godsm/internal/sys/fault"
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
