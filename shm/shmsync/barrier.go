package shmsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/internal/sys/spin"
)

// BarrierWord is what of a Barrier lies in shared memory. Its zero value is in phase 0, with no process
// attached. It is 256 bytes.
//
//	field    stored by                                    meaning
//	epoch    each participant; the one that ends a phase  onebit word of the phase and what goes with it (see epoch)
//	turn     the process that ended a phase               goes up; those that wait sleep on it. Futex
//	parties  the process in the slot; one that has found  onebit words of those that take part, one for each process
//	         that process dead: 0                         and up to 61 goroutines of it (see party)
//
// There is no lock: each field is loaded by any process at any time. A party that is read late makes a process believe
// that a participant is still missing, which costs one more look; it never lets a phase end too early, since the
// process that ends a phase has loaded epoch before the parties, and what makes a party count changes epoch too.
//
// All that matters is in epoch and parties, each changed at once: nothing is half-done when a process dies.
// A waiter ends the phase if the participant whose turn it was can't. A single wrong bit of the word is read as it was,
// or costs a wake-up.
type BarrierWord struct {
	_       structs.HostLayout
	epoch   atomic.Uint64
	_       [4]byte
	turn    atomic.Uint32
	parties [30]Slot
}

// Barrier makes its participants wait for one another, phase by phase, as one process sees it. Participants are
// goroutines of any processes: each calls Attach once, arrives in every phase and detaches at the end; all of a
// session share one Barrier. A participant whose process dies is subtracted.
//
// After the end of the session, or of the view that the word lies in, calls are ErrClosed. If the word's segment is
// detached in a session that goes on, its participants are subtracted.
type Barrier struct {
	word  *BarrierWord
	me    Self
	self  uint64      // me.Peer as a word
	view  ends        // of the word and of the session
	more  []Slot      // in shared memory, with the numbers behind those of word.parties
	spins spin.Budget // of all goroutines that wait here
}

// NewBarrier returns the barrier on w, for use by self. There is room for 30 processes; more are slots beside w,
// the same ones in every process. Calls with the same arguments return the same Barrier where w lies in a segment.
func NewBarrier(w *BarrierWord, self Self, more ...Slot) *Barrier {
	v := viewOf(w, self)
	make := func() *Barrier {
		return &Barrier{word: w, me: self, self: self.Peer.Word(), view: endsWith(v), more: more}
	}
	if v == nil {
		return make()
	}
	type key struct {
		word *BarrierWord
		peer Peer
		more int
	}
	return madeOnce(v, key{w, self.Peer, len(more)}, make, func(b *Barrier) { onBytesEnd(w, b.leaveAtEnd) })
}

// leaveAtEnd ends the part of every goroutine of this process at the end of the view, before the bytes go. Afterwards
// the others' phases end without them.
//
// An Attach that is under way has loaded a slot before the end, then found the view alive, and is about to swap the
// slot. So vacant slots are changed too, in the bits that count ends: that swap fails, and the next look at the view
// finds its end. The epoch is bumped before the others are woken, so that one of them which is about to end the phase
// counts again. A process that dies in here leaves slots of a dead session, which those that wait subtract.
func (b *Barrier) leaveAtEnd() {
	endAtFault(func() {
		for i := range b.slots() {
			for s := b.slot(i); ; {
				w := s.w.Load()
				p := partyOf(w)
				switch p.peer {
				case b.self:
					p = party{ends: 1}
				case 0:
					p.ends++
				}
				if s.w.CompareAndSwap(w, p.word()) {
					break
				}
			}
		}
		b.rejoinPhase()
		b.word.turn.Add(1)
		wake(&b.word.turn)
	})
}

// Phase returns the number of phases that have ended; 0 after the end of the view. It takes no part and does not block.
// To a goroutine that takes part and has not arrived it is exact, since the phase can't end without that goroutine; to
// all others it is a moment old.
func (b *Barrier) Phase() uint32 {
	if b.view.Ended() {
		return 0
	}
	var w uint64
	b.me.carefully(b.view, func() { w = b.word.epoch.Load() })
	return epochOf(w).phase
}

// Participants returns the processes that take part, each once. The dead are left out, for which it asks about each
// process in a slot whether it lives. The list is a look at one slot after another: each process in it took part at some
// moment of the call.
func (b *Barrier) Participants() (list []Peer) {
	if b.view.Ended() {
		return nil
	}
	b.me.carefully(b.view, func() {
		for i := range b.slots() {
			if w := partyOf(b.slot(i).w.Load()).peer; w != 0 && !slices.Contains(list, PeerOf(w)) && b.me.alive(w) {
				list = append(list, PeerOf(w))
			}
		}
	})
	if b.view.Ended() {
		return nil
	}
	return list
}

// Attach makes the caller a participant, and returns the phase that it is the first to arrive in. It does not block;
// it is ErrFull if there is no slot for one more process, those of dead sessions not counted. Each Attach is undone by
// one Detach or ArriveAndDetach, by any goroutine of this session.
//
// The slot is taken before the epoch is bumped. A process that ends the phase between the two may or may not have seen
// the new participant; the bump returns the phase that holds after it, so the caller knows the right one in either
// case. A process that dies between the two is a participant that never arrives, and is subtracted as such.
func (b *Barrier) Attach() (phase uint32, err error) {
	defer errOfView(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return 0, b.view.Err()
	}
	if !b.joinSlot() {
		return 0, b.view.Answer(errkind.As(ErrFull,
			fmt.Errorf("attaching to the barrier: all %d slots are in use by processes; give NewBarrier more slots", b.slots())))
	}
	failpoint.Hit("shmsync/barrier/entered")
	return b.rejoinPhase(), b.view.Err()
}

// ArriveAndWait waits until all participants have arrived in the caller's phase, or have detached or died. Exactly one
// of those that arrived and live returns elected, to do what is to be done once; if the elected one dies of it, no
// other is elected in its place.
//
// It blocks until the phase ends or ctx is over. In the latter case the error is the cause of ctx and names the sessions
// that have not arrived; the arrival is taken back, and the caller still takes part in the phase. An ArriveAndWait of a
// goroutine that has not called Attach is an error if that is found: if the process has fewer participants than
// arrivals.
//
// What a participant has stored before its call is seen by every participant after its call.
func (b *Barrier) ArriveAndWait(ctx context.Context) (elected bool, err error) {
	defer errOfView(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return false, b.view.Err()
	}
	phase := b.Phase()
	race.Release(&b.word.epoch)
	if !b.changeSlot(phase, func(p *party) bool { p.arrived++; return p.arrived <= p.attached }) {
		return false, b.view.Answer(errNotAttached())
	}
	failpoint.Hit("shmsync/barrier/arrived")
	b.advancePhase(phase, false)
	if err := b.waitPhase(ctx, phase); err != nil {
		return false, b.view.Answer(err)
	}
	race.Acquire(&b.word.epoch)
	elected = b.electOnce(phase)
	return elected && !b.view.Ended(), b.view.Err()
}

// ArriveAndDetach ends the caller's part: the phase ends without it, even if no other process takes part. It reports
// whether the caller was the last participant. It does not block.
func (b *Barrier) ArriveAndDetach() (last bool, err error) { return b.detach(true) }

// Detach ends the caller's part; the others don't wait for it any more. It reports whether the caller
// was the last participant. If it was, the phase stays as it is. Detach does not block.
func (b *Barrier) Detach() (last bool, err error) { return b.detach(false) }

// detach takes one goroutine of this process out of the barrier and ends the phase if the others have all arrived. With
// arrive it ends the phase too if none is left. It reports whether the caller was the last participant: of several that
// leave at once, one alone is, since the left bit of the epoch is set by one swap.
//
// A process that dies after it has changed its party, and before it has ended the phase, leaves a phase in which all
// have arrived. Each of those that wait sees that when it looks next, and ends the phase itself.
func (b *Barrier) detach(arrive bool) (last bool, err error) {
	defer errOfView(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return false, b.view.Err()
	}
	phase := b.Phase()
	race.Release(&b.word.epoch)
	if !b.changeSlot(phase, func(p *party) bool { p.attached--; return p.arrived <= p.attached }) {
		return false, b.view.Answer(errNotAttached())
	}
	failpoint.Hit("shmsync/barrier/detached")
	b.advancePhase(phase, arrive)
	for {
		w := b.word.epoch.Load()
		b.subtractDead(func(party) bool { return true })
		e := epochOf(w)
		if e.left || b.anyParty() || b.view.Ended() {
			return false, b.view.Err()
		}
		e.left = true
		if b.word.epoch.CompareAndSwap(w, e.word()) {
			failpoint.Hit("shmsync/barrier/last")
			race.Acquire(&b.word.epoch)
			return !b.view.Ended(), b.view.Err()
		}
	}
}

// errNotAttached returns the error of an arrival or a departure for which this process has no participant left.
func errNotAttached() error {
	return errors.New("the goroutine does not take part in the barrier: each calls Attach before it arrives or detaches, " +
		"and Detach once")
}
