package mq

import (
	"context"
	"errors"
	"fmt"
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

// What both ends have in common: positions, the check of the other end's position, the ways in which an end is over.
//
// An end belongs to one goroutine at a time, but for what other goroutines do to it at any moment: a view that ends
// calls endUse, the session's watcher calls rouse and late, a deadline of a Conn sets halt. Those touch atomic
// fields, and fields that are not changed after attach. Positions count bytes since the queue was made and never go
// back.

// End is one end of a queue: a *Sender or a *Receiver. It is for WaitAny; no other package can implement it.
type End interface {
	// ready reports whether a call that would have blocked may get further now.
	ready() bool
	// base returns what both kinds of ends have.
	base() *end
}

// end is what both ends have in this process.
type end struct {
	// ring is shared memory; where in it a byte lies follows from its position.
	ring []byte
	// size is the ring's length in bytes.
	size uint64
	// batch is how many bytes of progress are published without being asked for: when there are more the other end is
	// told.
	batch uint64
	// at is where in the ring this end is: its position modulo size.
	at int
	// mine and other are the words of this end and of the other one, in shared memory.
	mine  *side
	other *side
	// first is where the other end was when this one attached.
	first uint64
	// published is what the other end knows of this end's position.
	published uint64
	// want is how many bytes there must be before this end gets further.
	want uint64
	// dead is true once the other end's process was found dead. What it has published counts all the same.
	dead bool
	// fault is why the bytes can't be trusted any more: each later call returns it.
	fault error
	// ended is true once this end is detached, or a view of it has ended: no byte is touched any more.
	ended atomic.Bool
	// halt is true while a Conn's call is to end: at its deadline, or when it is closed.
	halt atomic.Bool
	// bell is that of a Conn's reader.
	bell atomic.Pointer[bell.Bell]
	// views are those of the bytes and of the session.
	views [2]*shm.View
	// forget takes back what the views call at their end.
	forget []func()
	self   shmsync.Self
	// peer is the place from which this end waits for the other one.
	peer waits.Wait
	// sleeps is where a goroutine of this process sleeps for this end, or is about to: awake, onWord or atBell. What
	// wakes it from within the process asks this, and no byte that a neighbour may have written.
	sleeps atomic.Uint32
	// seen is the other end's word pos as that goroutine saw it last.
	seen atomic.Uint64
	// spins and turns have learned how long it pays to look before a sleep.
	spins spin.Budget
	turns spin.Turns
	// conn is nil unless the end is a Conn's.
	conn *forConn
}

// base returns the end itself, for End.
func (e *end) base() *end { return e }

// checkPosition returns an error unless n bytes can lie between the two positions: no more than the ring has, and whole
// words. N is the difference of two positions of which the other end's comes from shared bytes: so one that lies
// behind, or too far ahead, is refused too, as its difference is larger than any ring. Such a position ends this end
// for good: ErrCorrupt.
func (e *end) checkPosition(n uint64) error {
	if n > e.size || n%word != 0 {
		e.fault = errCorruptQueue("%d bytes lie between the positions in a ring of %d", int64(n), e.size)
	}
	return e.fault
}

// publish tells the other end that this one is at pos, and wakes it if it sleeps. It does not wait. What was written
// to the ring before is seen by a process that sees pos.
func (e *end) publish(pos uint64) {
	e.published = pos
	race.Release(&e.mine.pos)
	// The position comes before the wake-up. A process that dies in between has published: the other end finds the
	// bytes when it hears of the death, or looks by itself.
	e.mine.pos.Store(onebit.Word(pos))
	failpoint.Hit("mq/publish/stored")
	e.wakeOther()
}

// wakeOther wakes the other end, if it sleeps. Where its bell can't be reached from here, its session's watcher is
// asked to wake it, once: from then on it sleeps on its word.
func (e *end) wakeOther() {
	if !e.other.wakeSleeper() && e.self.Ask != nil {
		e.self.Ask(shmsync.PeerOf(e.other.userWord()))
	}
}

// otherPosition returns the other end's position, which may be any number. The bytes of the ring up to it are seen after
// this load.
func (e *end) otherPosition() uint64 {
	pos := e.other.position()
	race.Acquire(&e.other.pos)
	return pos
}

// advance moves at by n bytes, at most the ring's size, and goes on at the ring's beginning.
func (e *end) advance(n uint64) {
	if e.at += int(n); e.at >= len(e.ring) {
		e.at -= len(e.ring)
	}
}

// errEnded is the answer of each call after the end, and of the zero Sender and Receiver.
var errEnded = errkind.As(ErrClosed, errors.New("this end of the queue is detached, or its segment or session is"))

// errIfUnusable returns why no call can work, or nil. Every exported method asks it when it begins, after each sleep,
// and once more before it gives an answer.
func (e *end) errIfUnusable() error {
	// The zero Sender or Receiver has no words.
	if e.ended.Load() || e.mine == nil {
		return errEnded
	}
	return e.fault
}

// hasEnded reports whether this end is detached, or a view of it has ended. A view ends its ends one after another: the
// other end of the queue may have been told before this one, and then ErrDetached is not the answer.
func (e *end) hasEnded() bool {
	return e.ended.Load() || e.views[0].Ended() || e.views[1].Ended()
}

// answer is called by defer in what may have met a fault, or read bytes after the end: once this end is over, that is
// the error.
func (e *end) answer(err *error) {
	if e.hasEnded() {
		*err = errEnded
	}
}

// errEndedWith returns err or, once this end is over, that.
func (e *end) errEndedWith(err error) error {
	e.answer(&err)
	return err
}

// errIfOver returns why nothing more comes from the other end, or nil: this end's own end first, then what is wrong with
// the bytes, then ErrDetached, then the death of the other end's process. What was published before still counts; the
// receiver looks for it after it has asked.
func (e *end) errIfOver() error {
	switch {
	case e.ended.Load(), e.mine == nil:
		return errEnded
	case e.fault != nil:
		return e.fault
	case e.other.hasLeft():
		return ErrDetached
	case e.dead:
		return &shmsync.PeerDiedError{Peer: shmsync.PeerOf(e.other.userWord())}
	}
	return nil
}

// attached reports whether the other end has come, or will not, or the wait for it is to end.
func (e *end) attached() bool {
	return e.errIfOver() != nil || e.halt.Load() || e.other.userWord()&taken != 0
}

// WaitAttach waits until the other end has attached. If the session that SetSender or SetReceiver has named dies
// before, it is ErrPeerDied. If the other end has detached since it came, that is ErrDetached; if ctx is over, its
// cause. One goroutine at a time may use the end.
func (e *end) WaitAttach(ctx context.Context) (err error) {
	if err := e.errIfUnusable(); err != nil {
		return err
	}
	defer e.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if _, err := wait(ctx, []End{&arrival{e}}); err != nil {
		return err
	}
	if err := e.errIfOver(); err != nil {
		return err
	}
	if e.other.userWord()&taken == 0 {
		return ErrWouldBlock // its wait was interrupted
	}
	return nil
}

// arrival is an end that waits for the other one to come.
type arrival struct{ *end }

// ready reports whether the other end has come, or will not.
func (a *arrival) ready() bool { return a.attached() }

// close detaches this end, and takes back what its views would call. It is called by Detach.
func (e *end) close() {
	e.endUse()
	for _, forget := range e.forget {
		forget()
	}
}

// endUse ends this end, by whichever goroutine: that of Detach, or one that ends a view, before the bytes go. It
// tells the other end, and wakes a call that waits here. It does not wait. Two goroutines may run it at the same
// time: each step does no harm twice.
func (e *end) endUse() {
	// First no call begins any more; a call in flight finds ended before it answers.
	e.ended.Store(true)
	if e.mine == nil {
		return
	}
	// From here on the watcher wakes no goroutine for this end: so the bytes are not touched from there.
	e.peer.End()
	e.leave()
	// Also where the bytes are gone: a goroutine that sleeps here hears of the end by nothing else.
	e.wakeForLook()
}

// leave tells the other end that this one is detached. A fault is ignored.
func (e *end) leave() {
	defer fault.Ignore(fault.Catch())
	failpoint.Hit("mq/detach/leaving")
	// The other end learns that this one is detached before it is woken. A process that dies in between leaves an end
	// that is detached; the other end finds that when it looks, once a second at least.
	e.mine.setLeft()
	failpoint.Hit("mq/detach/gone")
	e.wakeOther()
}

// attach takes the end for this session, and ensures that the end of either view gives it back. It runs under a lease
// of the region's view, so that what it stores reaches other processes. If it fails after the end was taken, no other
// session can take it: the queue was garbled, or has ended.
func (e *end) attach(what string, q *Queue, self shmsync.Self) (err error) {
	if q.h == nil {
		return errUnmade
	}
	l, err := q.view.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	defer answerOfQueue(&err, q.view)
	defer answerOfQueue(&err, self.View)
	defer fault.Return(&err, fault.Catch())
	if self.View.Ended() {
		return self.View.Err()
	}
	mine, other := &q.h.sender, &q.h.receiver
	if what == "receiver" {
		mine, other = other, mine
	}
	// The end is taken by one compare-and-swap. A process that dies after it has attached for the other end, which is
	// told of the death as of any.
	me := self.Peer.Word()
	if is := mine.nameUser(me, me|taken); is != 0 {
		return errkind.As(ErrExists, fmt.Errorf("the %s is %v already", what, shmsync.PeerOf(is)))
	}
	failpoint.Hit("mq/attach/taken")
	e.ring, e.size = q.ring, uint64(len(q.ring))
	e.batch = min(e.size/4, maxBatch) &^ (word - 1)
	e.mine, e.other, e.self, e.want = mine, other, self, word
	e.peer.Waits, e.peer.Stay, e.peer.Wake, e.peer.Late = self.Waits, true, e.rouse, e.waitIsLate
	e.published, e.first = mine.position(), other.position()
	e.at = int(e.published % e.size)
	// This refuses a position at which no message can begin.
	if e.published%word != 0 {
		return errCorruptQueue("the position of the %s is %d", what, e.published)
	}
	// From here on the end of a view detaches this end, also if that comes before attach returns.
	e.views = [2]*shm.View{q.view, self.View}
	for _, v := range e.views {
		e.forget = append(e.forget, v.OnEnd(e.endUse))
	}
	// The other end may be waiting for this one to come.
	e.wakeOther()
	return nil
}

// otherPeer returns the word of the other end's session, 0 if it is not known, or the error of a fault.
func (e *end) otherPeer() (w uint64, err error) {
	defer fault.Return(&err, fault.Catch())
	return e.other.userWord(), nil
}

// rouse makes a goroutine that sleeps here, or is about to, look again. The session's watcher calls it, and what ends a
// Conn's call, at any moment: it touches no byte once the end is over, and a fault in it is ignored.
func (e *end) rouse() {
	if !e.ended.Load() {
		e.wakeForLook()
	}
}

// wakeForLook wakes the goroutine of this process that sleeps here, or is about to. Where it sleeps is what that
// goroutine has noted, not what the shared words say: so deadlines, Close and the watcher reach it whatever a
// neighbour has stored there. A fault is ignored.
func (e *end) wakeForLook() {
	switch e.sleeps.Load() {
	case atBell:
		if b := e.bell.Load(); b != nil {
			b.Interrupt()
		}
	case onWord:
		defer fault.Ignore(fault.Catch())
		e.mine.wakeForLook()
	}
}

// askForPeer finds out whether the other end's process is alive, if it is known, and notes in dead if it is not. That
// may take a system call.
func (e *end) askForPeer() {
	if p := e.other.userWord(); p != 0 && !e.self.Alive(shmsync.PeerOf(p)) {
		e.dead = true
	}
}
