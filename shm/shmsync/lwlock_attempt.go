package shmsync

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/failpoint"
)

// This file takes the lock: every move of the state that makes a process its owner or a reader, where the fast paths of
// Lock and RLock have not sufficed. Nothing in it waits.

// mode is what the lock is wanted for; it is also the index of the turn to sleep on.
type mode int

const (
	exclusive mode = iota
	shared
)

// want is what a call wants.
type want struct {
	mode
	repair bool // of a poisoned lock too
}

// asleepBit is the flag of the state for each mode.
var asleepBit = [2]uint64{sleepX, sleepS}

// Any of these instructions can be a process's last:
//
//   - Before its compare-and-swap of state or slot a process has left nothing.
//   - An owner beside mayRead was never in: the process that finds it dead clears it. Without mayRead it was, or was about
//     to leave: the process that finds it dead takes its place, abandoned.
//   - A reader dead with a count in its slot is subtracted, whether it was in, on its way in or on its way out.
//   - mayRead may be set with no reader left: the next owner looks at the slots once more than needed.
//   - A waiter's entry, hungry and the sleep flags may be left behind by dead sessions: they cost a needless wake-up, or
//     make a newcomer sleep for a millisecond, once.
//   - If a process dies between giving the lock back and waking, those that sleep hear of its death and look, whether or
//     not the lock still names it. Where a session has no watcher they look every 8 ms anyway.

// Outcomes of an attempt beside success. They stay inside the package, and are compared with ==.
var (
	errBlocked = errors.New("held")
	errDrain   = errors.New("owner, but for readers") // the owner is this process, and readers are in the way
	errNoSlot  = errors.New("no free slot")
	errLost    = errors.New("given back") // the hold was mistaken for a stray store
)

// attemptLock tries to take the lock once. Slept is whether the caller has been asleep for it. It returns the guard or
// one of errBlocked, errDrain, errNoSlot and errLost; any other error is one for the program: the end of the view, or
// ErrNotRecoverable. With errDrain the caller is the owner, and goes on with drainReaders or cancelDrain.
//
// A process that dies as an owner beside mayRead was never in, and what it leaves is freed, not abandoned. The flags
// that the swap takes out of the state (the sleepers', and hungry) are put in again by those that wait for longer;
// sleepX is set if the caller has slept, for others that may be asleep and whose flag the last owner has taken.
//
// As in enterSlot, the look at the view comes between the load of the word and its swap: the end of a view changes the
// word, if it is not held by a living session. So nothing is taken after the end has given back what was held.
func (l *LWLock) attemptLock(w want, slept bool) (Guard, error) {
	for {
		st := l.word.state.Load()
		switch {
		case l.view.Ended():
			return Guard{}, l.view.Err()
		case st&poisoned != 0 && !w.repair:
			return Guard{}, fmt.Errorf("taking the lock: a process died while it held it, and the next holder unlocked it "+
				"without MarkConsistent; take it with Recover and repair what it guards: %w",
				ErrNotRecoverable)
		case st&peerMask != 0, st&hungry != 0 && !slept:
			return Guard{}, errBlocked
		case w.mode == shared:
			return l.attemptShared(st)
		}
		next := st&(mayRead|poisoned|holds) | l.self
		if slept {
			next |= sleepX // others may be asleep behind the flag that the last owner took with it
		}
		if st&poisoned != 0 && st&mayRead == 0 {
			next = next&^poisoned | abandoned
		}
		if !l.word.state.CompareAndSwap(st, next) {
			continue
		}
		if st&mayRead != 0 {
			failpoint.Hit("shmsync/lwlock/owner")
			if _, err := l.exclusiveGuard(next); err != nil {
				return Guard{}, err
			}
			if !l.noReaders() {
				return Guard{}, errDrain
			}
			return l.enterDrained()
		}
		failpoint.Hit("shmsync/lwlock/taken")
		return l.exclusiveGuard(next)
	}
}

// attemptShared takes the lock for shared use, from a state without an owner. It returns the guard, errNoSlot, or
// errBlocked if an owner has come.
//
// The slot is stored before the state is swapped; an owner that comes after the swap finds the slot. A process that
// dies in between leaves a slot of a dead reader, which the next owner subtracts.
func (l *LWLock) attemptShared(st uint64) (Guard, error) {
	i := l.enterAnySlot()
	if i < 0 {
		return Guard{}, errNoSlot
	}
	failpoint.Hit("shmsync/lwlock/slot")
	for {
		if st&(peerMask|poisoned) != 0 {
			l.leaveSlot(l.slot(i))
			return Guard{}, errBlocked
		}
		// The swap proves, even if it changes nothing, that no owner came between. Flags without an owner are left
		// over: a goroutine that believes in them sleeps for a moment only.
		if l.word.state.CompareAndSwap(st, st&holds|mayRead) {
			failpoint.Hit("shmsync/lwlock/shared")
			return l.readerGuard(i)
		}
		st = l.word.state.Load()
	}
}

// takeOver deals with a dead owner, or with lostOwner. It frees the lock of one that was waiting for readers; of one
// that was in it makes the caller the holder, abandoned. It reports with took whether the caller took the lock over,
// and then returns the guard or the reason why it is none. It asks whether the owner lives, and so is called by those
// that have to wait.
//
// The swap begins from the state in which the dead owner was found: of several processes one succeeds.
func (l *LWLock) takeOver(w want) (g Guard, took bool, err error) {
	st := l.word.state.Load()
	switch {
	case st&peerMask == 0 || st&poisoned != 0 && !w.repair || l.ownedBySelf(st) || l.me.alive(st) || l.view.Ended():
		return Guard{}, false, nil
	case st&mayRead != 0:
		l.freeAndWake(st, st&poisoned)
		return Guard{}, false, nil
	}
	// The next number, so that a holder that a stray store has renamed tells this hold from its own.
	next := (st&holds + oneHold) | st&^(holds|peerMask|poisoned) | l.self | abandoned | sleepX
	if !l.word.state.CompareAndSwap(st, next) {
		return Guard{}, false, nil
	}
	failpoint.Hit("shmsync/lwlock/inherited")
	g, err = l.exclusiveGuard(next)
	return g, true, err
}
