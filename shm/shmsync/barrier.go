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
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/internal/futex"
	"github.com/godsm/godsm/internal/race"
	"github.com/godsm/godsm/internal/spin"
)

// BarrierWord is what of a Barrier lies in shared memory. Its zero value is in phase 0, with nobody
// attached. It is 256 bytes.
//
//	epoch    bits 0-31 the phase, bit 32 the last one has left, bits 33-63 go up whenever somebody comes or takes an
//	         arrival back: then whoever is about to end the phase counts again
//	elected  how many phases have elected somebody
//	turn     news for those who wait. Futex
//	parties  who takes part. Count: bits 0-7 how often, 8-15 how many of these have arrived, 16-20 in which phase
//	         (mod 32). Without a peer bits 59-63 go up when the end of a view takes a part away
//
// All that matters is in epoch and parties, each changed at once: nothing is half-done when a process dies.
// Whoever waits ends the phase if the one whose turn it was can't.
type BarrierWord struct {
	_       structs.HostLayout
	epoch   atomic.Uint64
	elected atomic.Uint32
	turn    atomic.Uint32
	parties [30]Slot
}

const (
	left    = 1 << 32
	version = 1 << 33
	most    = 255 // goroutines of one process
)

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
				next := w
				switch w & peerMask {
				case b.self:
					next = oneTaken
				case 0:
					next = w + oneTaken
				}
				if s.w.CompareAndSwap(w, next) {
					break
				}
			}
		}
		b.bump()
		b.word.turn.Add(1)
		wake(&b.word.turn)
	})
}

// oneTaken is one in what a vacant slot counts.
const oneTaken = 1 << 59

// parties are one slot's count, taken apart.
type party struct{ attached, arrived, phase uint64 }

func partyOf(w uint64) party { return party{w >> 43 & 0xff, w >> 51 & 0xff, w >> 59} }

func (p party) word(peer uint64) uint64 {
	if p.attached == 0 {
		return 0
	}
	return peer | p.attached<<43 | p.arrived<<51 | p.phase<<59
}

// in is the party as it stands in that phase, in which earlier arrivals don't count.
func (p party) in(phase uint32) party {
	if p.phase != uint64(phase%32) {
		p.arrived, p.phase = 0, uint64(phase%32)
	}
	return p
}

// Phase is the number of phases that have ended; 0 after the end of the view.
func (b *Barrier) Phase() uint32 {
	if b.view.Ended() {
		return 0
	}
	return uint32(b.word.epoch.Load())
}

// Participants are the processes that take part, each once. The dead are left out.
func (b *Barrier) Participants() (list []Peer) {
	if b.view.Ended() {
		return nil
	}
	for i := range b.slots() {
		if w := b.slot(i).w.Load(); w&peerMask != 0 && !slices.Contains(list, PeerOf(w)) && b.me.alive(w) {
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

// bump makes whoever is about to end the phase count again, and says which phase that is.
func (b *Barrier) bump() uint32 {
	for {
		e := b.word.epoch.Load()
		if b.word.epoch.CompareAndSwap(e, (e+version)&^left) {
			failpoint.Hit("shmsync/barrier/bumped")
			return uint32(e)
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

// ArriveAndDetach ends the caller's part: the phase ends without it, even if nobody else takes part. It says
// whether the caller was the last participant.
func (b *Barrier) ArriveAndDetach() (last bool, err error) { return b.detach(true) }

// Detach ends the caller's part; the others don't wait for it any more. It says whether the caller
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
		e := b.word.epoch.Load()
		b.subtractDead(func(uint64) bool { return true })
		if e&left != 0 || b.attended() || b.view.Ended() {
			return false, b.view.Err()
		}
		if b.word.epoch.CompareAndSwap(e, e|left) {
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
			b.subtractDead(func(uint64) bool { return true })
		}
		for i := range b.slots() {
			s := b.slot(i)
			w := s.w.Load()
			for w&peerMask == b.self || w&peerMask == 0 && pass > 0 {
				p := party{}
				if w&peerMask != 0 {
					p = partyOf(w)
				}
				p.attached++
				if p.attached > most || b.view.Ended() {
					break
				}
				if s.w.CompareAndSwap(w, p.word(b.self)) {
					return true
				}
				w = s.w.Load()
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
			if w&peerMask != b.self || !f(&p) {
				break
			}
			if s.w.CompareAndSwap(w, p.word(b.self)) {
				return true
			}
		}
	}
	return false
}

// advance ends the phase if all participants have arrived.
func (b *Barrier) advance(phase uint32, evenIfNobody bool) {
	for {
		e := b.word.epoch.Load()
		if uint32(e) != phase {
			return
		}
		for i := range b.slots() {
			w := b.slot(i).w.Load()
			p := partyOf(w).in(phase)
			if w&peerMask != 0 && p.arrived < p.attached {
				return
			}
		}
		if !evenIfNobody && !b.attended() {
			return
		}
		if b.word.epoch.CompareAndSwap(e, e&^0xffffffff|uint64(phase+1)) {
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
		if b.slot(i).w.Load()&peerMask != 0 {
			return true
		}
	}
	return false
}

// subtractDead frees the slots of the dead among those that matter.
func (b *Barrier) subtractDead(matters func(w uint64) bool) {
	for i := range b.slots() {
		s := b.slot(i)
		if w := s.w.Load(); w&peerMask != 0 && w&peerMask != b.self && matters(w) && !b.me.alive(w) {
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
	for patience := minPatience; ; patience = min(2*patience, maxAsk) {
		seen := b.word.turn.Load()
		if over() || b.view.Ended() {
			return nil
		}
		if ctx.Err() != nil {
			return b.takeBack(ctx, phase)
		}
		futex.WaitAny(ctx, within(ctx, patience), futex.Word{W: &b.word.turn, Val: seen})
		failpoint.Hit("shmsync/barrier/woken")
		if over() {
			return nil
		}
		b.subtractDead(func(w uint64) bool { p := partyOf(w).in(phase); return p.arrived < p.attached })
		b.advance(phase, false)
	}
}

// takeBack undoes an arrival, unless the phase has ended meanwhile.
func (b *Barrier) takeBack(ctx context.Context, phase uint32) error {
	b.change(phase, func(p *party) bool {
		p.arrived-- // of 0 it is huge
		return p.arrived < p.attached
	})
	failpoint.Hit("shmsync/barrier/taken-back")
	if b.bump() != phase {
		return nil
	}
	return context.Cause(ctx)
}

// elect says whether the caller is the first to ask after that phase.
func (b *Barrier) elect(phase uint32) bool {
	for {
		n := b.word.elected.Load()
		if int32(n-(phase+1)) >= 0 {
			return false
		}
		if b.word.elected.CompareAndSwap(n, phase+1) {
			failpoint.Hit("shmsync/barrier/elected")
			return true
		}
	}
}
