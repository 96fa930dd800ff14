package shmsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/internal/waits"
)

// BarrierWord is what of a Barrier lies in shared memory. Its zero value is in phase 0, with no process
// attached. It is 256 bytes.
//
//	epoch    onebit word of the phase and what goes with it (see epoch)
//	turn     news for those who wait. Futex
//	parties  onebit words of those that take part (see party)
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
	self  uint64
	view  ends
	more  []Slot
	spins spin.Budget
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
	return madeOnce(v, key{w, self.Peer, len(more)}, make, func(b *Barrier) { onEnd(w, b.giveBack) })
}

// giveBack runs at the end of the view, before the bytes go. An Attach that is under way has loaded a slot before, so
// vacant ones are changed, too.
func (b *Barrier) giveBack() {
	contained(func() {
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
		b.bump()
		b.word.turn.Add(1)
		wake(&b.word.turn)
	})
}

// Phase returns the number of phases that have ended; 0 after the end of the view.
func (b *Barrier) Phase() uint32 {
	if b.view.Ended() {
		return 0
	}
	return epochOf(b.word.epoch.Load()).phase
}

// Participants returns the processes that take part, each once. The dead are left out.
func (b *Barrier) Participants() (list []Peer) {
	if b.view.Ended() {
		return nil
	}
	for i := range b.slots() {
		if w := partyOf(b.slot(i).w.Load()).peer; w != 0 && !slices.Contains(list, PeerOf(w)) && b.me.alive(w) {
			list = append(list, PeerOf(w))
		}
	}
	if b.view.Ended() {
		return nil
	}
	return list
}

// Attach makes the caller a participant, and says in which phase. It is ErrFull if there is no slot for one more
// process.
func (b *Barrier) Attach() (phase uint32, err error) {
	defer late(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return 0, b.view.Err()
	}
	if !b.enter() {
		return 0, b.view.Answer(errkind.As(ErrFull,
			fmt.Errorf("all %d slots of the barrier are in use; give it more", b.slots())))
	}
	failpoint.Hit("shmsync/barrier/entered")
	return b.bump(), b.view.Err()
}

// bump makes the participant that is about to end the phase count again, and says which phase that is.
func (b *Barrier) bump() uint32 {
	for {
		w := b.word.epoch.Load()
		e := epochOf(w)
		e.left = false
		e.arrivals++
		if b.word.epoch.CompareAndSwap(w, e.word()) {
			failpoint.Hit("shmsync/barrier/bumped")
			return e.phase
		}
	}
}

// ArriveAndWait waits until all participants have arrived. One of them is told that it is elected, to do what is
// to be done once. If ctx is over first the arrival is taken back, and the caller still takes part.
func (b *Barrier) ArriveAndWait(ctx context.Context) (elected bool, err error) {
	defer late(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return false, b.view.Err()
	}
	phase := b.Phase()
	race.Release(&b.word.epoch)
	if !b.change(phase, func(p *party) bool { p.arrived++; return p.arrived <= p.attached }) {
		return false, b.view.Answer(errNotAttached())
	}
	failpoint.Hit("shmsync/barrier/arrived")
	b.advance(phase, false)
	if err := b.wait(ctx, phase); err != nil {
		return false, b.view.Answer(err)
	}
	race.Acquire(&b.word.epoch)
	elected = b.elect(phase)
	return elected && !b.view.Ended(), b.view.Err()
}

// ArriveAndDetach ends the caller's part: the phase ends without it, even if no other process takes part. It says
// whether the caller was the last participant.
func (b *Barrier) ArriveAndDetach() (last bool, err error) { return b.detach(true) }

// Detach ends the caller's part; the others don't wait for it any more. It reports whether the caller
// was the last participant.
func (b *Barrier) Detach() (last bool, err error) { return b.detach(false) }

func (b *Barrier) detach(arrive bool) (last bool, err error) {
	defer late(&err, b.view.v)
	defer fault.Return(&err, fault.Catch())
	if b.view.Ended() {
		return false, b.view.Err()
	}
	phase := b.Phase()
	race.Release(&b.word.epoch)
	if !b.change(phase, func(p *party) bool { p.attached--; return p.arrived <= p.attached }) {
		return false, b.view.Answer(errNotAttached())
	}
	failpoint.Hit("shmsync/barrier/detached")
	b.advance(phase, arrive)
	for {
		w := b.word.epoch.Load()
		b.subtractDead(func(party) bool { return true })
		e := epochOf(w)
		if e.left || b.attended() || b.view.Ended() {
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

func errNotAttached() error {
	return errors.New("not attached, or more arrivals than participants: each goroutine calls Attach first")
}

func (b *Barrier) slots() int { return len(b.word.parties) + len(b.more) }

func (b *Barrier) slot(i int) *Slot {
	if n := len(b.word.parties); i >= n {
		return &b.more[i-n]
	}
	return &b.word.parties[i]
}

// enter counts one more participant of this process, in a slot that it has, a free one or a dead one's.
func (b *Barrier) enter() bool {
	for pass := range 3 {
		if pass == 2 {
			b.subtractDead(func(party) bool { return true })
		}
		for i := range b.slots() {
			for s := b.slot(i); ; {
				w := s.w.Load()
				p := partyOf(w)
				if p.peer != b.self && (p.peer != 0 || pass == 0) || p.attached >= most || b.view.Ended() {
					break
				}
				p.peer = b.self
				p.attached++
				if s.w.CompareAndSwap(w, p.word()) {
					return true
				}
			}
		}
	}
	return false
}

// change changes one of this process's slots, one that f agrees to. The phase can't end meanwhile if the caller
// takes part and has not arrived.
func (b *Barrier) change(phase uint32, f func(p *party) bool) bool {
	for i := range b.slots() {
		s := b.slot(i)
		for {
			w := s.w.Load()
			p := partyOf(w).in(phase)
			if p.peer != b.self || !f(&p) {
				break
			}
			if s.w.CompareAndSwap(w, p.word()) {
				return true
			}
		}
	}
	return false
}

// advance ends the phase if all participants have arrived.
func (b *Barrier) advance(phase uint32, evenIfNobody bool) {
	for {
		w := b.word.epoch.Load()
		e := epochOf(w)
		if e.phase != phase {
			return
		}
		for i := range b.slots() {
			if p := partyOf(b.slot(i).w.Load()).in(phase); p.arrived < p.attached {
				return
			}
		}
		if !evenIfNobody && !b.attended() {
			return
		}
		e.phase++
		e.elected = false
		if b.word.epoch.CompareAndSwap(w, e.word()) {
			failpoint.Hit("shmsync/barrier/ended")
			b.word.turn.Add(1)
			failpoint.Hit("shmsync/barrier/turned")
			futex.Wake(&b.word.turn, all)
			return
		}
	}
}

func (b *Barrier) attended() bool {
	for i := range b.slots() {
		if partyOf(b.slot(i).w.Load()).peer != 0 {
			return true
		}
	}
	return false
}

// subtractDead frees the slots of the dead among those that matter.
func (b *Barrier) subtractDead(matters func(party) bool) {
	for i := range b.slots() {
		s := b.slot(i)
		w := s.w.Load()
		if p := partyOf(w); p.peer != 0 && p.peer != b.self && matters(p) && !b.me.alive(p.peer) {
			s.w.CompareAndSwap(w, 0)
			failpoint.Hit("shmsync/barrier/subtracted")
		}
	}
}

func (b *Barrier) wait(ctx context.Context, phase uint32) error {
	over := func() bool { return b.Phase() != phase }
	if b.spins.Until(over) {
		return nil
	}
	wait := waits.Wait{Waits: b.me.Waits}
	defer wait.End()
	for {
		seen := b.word.turn.Load()
		if over() || b.view.Ended() {
			return nil
		}
		if ctx.Err() != nil {
			return b.takeBack(ctx, phase)
		}
		wait.Sleep(ctx, func(ctx context.Context, d time.Duration) {
			futex.WaitAny(ctx, d, futex.Word{W: &b.word.turn, Val: seen})
		}, b.others()...)
		failpoint.Hit("shmsync/barrier/woken")
		if over() {
			return nil
		}
		b.subtractDead(func(p party) bool { p = p.in(phase); return p.arrived < p.attached })
		b.advance(phase, false)
	}
}

// others lists the other sessions that take part. One that has arrived may die before it wakes those that wait.
func (b *Barrier) others() (list []uint64) {
	for i := range b.slots() {
		if p := partyOf(b.slot(i).w.Load()); p.peer != 0 && p.peer != b.self {
			list = append(list, p.peer)
		}
	}
	return list
}

// takeBack undoes an arrival, unless the phase has ended by then.
func (b *Barrier) takeBack(ctx context.Context, phase uint32) error {
	b.change(phase, func(p *party) bool {
		p.arrived-- // of 0 it is huge
		return p.arrived < p.attached
	})
	failpoint.Hit("shmsync/barrier/taken-back")
	if b.bump() != phase {
		return nil
	}
	if missing := b.missing(phase); len(missing) > 0 {
		return fmt.Errorf("the barrier waits for %s: %w", b.me.names(missing), context.Cause(ctx))
	}
	return context.Cause(ctx)
}

// missing lists the sessions that have yet to arrive in the phase.
func (b *Barrier) missing(phase uint32) (list []Peer) {
	for i := range b.slots() {
		if p := partyOf(b.slot(i).w.Load()); p.peer != 0 && p.in(phase).arrived < p.in(phase).attached {
			list = append(list, PeerOf(p.peer))
		}
	}
	return list
}

// elect reports whether the caller is the first to ask after that phase. It takes part and has not arrived in the next
// phase, so that one has not ended.
func (b *Barrier) elect(phase uint32) bool {
	for {
		w := b.word.epoch.Load()
		e := epochOf(w)
		if e.phase != phase+1 || e.elected {
			return false
		}
		e.elected = true
		if b.word.epoch.CompareAndSwap(w, e.word()) {
			failpoint.Hit("shmsync/barrier/elected")
			return true
		}
	}
}
