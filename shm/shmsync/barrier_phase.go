package shmsync

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// This file is about the phases of a barrier: when one ends, and how those that have arrived wait for that.
//
// A phase is ended by one swap of the epoch, by any participant that finds that all have arrived. A new participant,
// and an arrival that is taken back, could make that finding wrong between the look at the slots and the swap. So both
// change the epoch (bump) after they have changed their slot, and the swap of a process that has looked before fails.

// rejoinPhase makes a process that is about to end the phase count again, and returns the phase that holds after it.
// The mark that the last participant has left goes too, since there may be one again.
//
// The slot that the caller has changed is stored before: a process that loads the epoch after the bump finds the slot
// changed. A process that dies before its bump has changed its slot only; it is dead, and so subtracted.
func (b *Barrier) rejoinPhase() uint32 {
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

// advancePhase ends the phase if all participants have arrived. If none takes part it does so with evenIfNobody alone.
// It does nothing if the phase has ended already.
//
// The epoch is loaded before the slots and swapped after them: the swap fails if a participant has come or has taken its
// arrival back since. The dead are not looked for here; those that wait subtract them and call advance again.
//
// The phase is stored before turn, and turn before the wake-up: a sleeper loads turn before the phase, so it either
// finds the new phase or sleeps on a turn that changes. A process that dies after the swap leaves a phase that has
// ended and sleepers that were not woken. They hear of its death, or look by themselves after milliseconds (see
// others).
func (b *Barrier) advancePhase(phase uint32, evenIfNobody bool) {
	for {
		w := b.word.epoch.Load()
		e := epochOf(w)
		if e.phase != phase {
			return
		}
		for i := range b.slots() {
			if p := partyOf(b.slot(i).w.Load()).inPhase(phase); p.arrived < p.attached {
				return
			}
		}
		if !evenIfNobody && !b.anyParty() {
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

// waitPhase sleeps until the phase has ended, which it helps to end if participants die, or until the view ends; both
// are nil. When ctx is over first it takes the caller's arrival back and returns the cause.
//
// In each turn of the loop turn is loaded before the phase is looked at, for the reason that advance gives. A
// participant that may have died is asked for after each sleep, and only if it has not arrived: the death of one that
// has arrived changes nothing.
func (b *Barrier) waitPhase(ctx context.Context, phase uint32) error {
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
			return b.undoArrival(ctx, phase)
		}
		wait.Sleep(ctx, func(ctx context.Context, d time.Duration) {
			futex.WaitAny(ctx, d, futex.Word{W: &b.word.turn, Val: seen})
		}, b.otherParties()...)
		failpoint.Hit("shmsync/barrier/woken")
		if over() {
			return nil
		}
		b.subtractDead(func(p party) bool { p = p.inPhase(phase); return p.arrived < p.attached })
		b.advancePhase(phase, false)
	}
}

// undoArrival undoes the caller's arrival in the phase and returns the cause of ctx, with the sessions that are
// missing. If the phase has ended by then the arrival counted: it returns nil, and the caller's wait has succeeded.
//
// Whether the phase has ended is what bump returns, not a look before it: a swap that ends the phase either comes before
// the bump, which then returns the next phase, or fails because of it. Between the change of the slot and the bump a
// phase may still end with the arrival that is gone from the slot; the slot is then of an earlier phase, in which
// arrivals do not count. A process that dies in between is subtracted with its slot.
func (b *Barrier) undoArrival(ctx context.Context, phase uint32) error {
	b.changeSlot(phase, func(p *party) bool {
		p.arrived-- // of 0 it is huge
		return p.arrived < p.attached
	})
	failpoint.Hit("shmsync/barrier/taken-back")
	if b.rejoinPhase() != phase {
		return nil
	}
	if missing := b.notArrived(phase); len(missing) > 0 {
		return fmt.Errorf("the barrier waits for %s: %w", b.me.sessionNames(missing), context.Cause(ctx))
	}
	return context.Cause(ctx)
}

// electOnce reports whether the caller is the first to ask after that phase. The caller takes part and has not arrived
// in the next phase, so that one has not ended, and the elected bit is still of this one. If the process dies after
// the swap, the phase goes without the work of an elected participant: the others can't tell how far it came.
func (b *Barrier) electOnce(phase uint32) bool {
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
