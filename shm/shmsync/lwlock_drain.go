package shmsync

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// drainReaders waits for the readers to leave, as their lock's next owner, and returns the guard. When ctx is over, or
// the view of the bytes ends, it gives the ownership up and returns why. The state names this session from before its
// begin, so no reader comes in, and each that leaves looks for an owner to wake.
//
// The mark in asleep is stored before the last look at the slots: see Unlock. A dead reader's slot is freed after each
// sleep. A process that dies in here is an owner beside mayRead, which was never in: any other process frees the lock.
func (l *LWLock) drainReaders(ctx context.Context) (Guard, error) {
	after := l.bytes.Ended()
	if !after {
		defer l.bytes.OnEnd(l.wakeAll)()
	}
	wait := waits.Wait{Waits: l.me.Waits}
	defer wait.End()
	for {
		if l.spins.Until(l.noReaders) {
			return l.enterDrained()
		}
		l.word.asleep.Store(1)
		failpoint.Hit("shmsync/lwlock/draining")
		if l.noReaders() {
			return l.enterDrained()
		}
		if !after && l.bytes.Ended() || ctx.Err() != nil {
			why := context.Cause(ctx)
			if why != nil && !l.bytes.Ended() {
				why = l.errWaited(why)
			}
			endAtFault(l.cancelDrain)
			if !after && l.bytes.Ended() {
				return Guard{}, l.bytes.Err()
			}
			return Guard{}, why
		}
		wait.Sleep(ctx, func(ctx context.Context, d time.Duration) {
			futex.WaitAny(ctx, d, futex.Word{W: &l.word.asleep, Val: 1})
		}, l.readerWords()...)
		failpoint.Hit("shmsync/lwlock/drain-woken")
		l.freeDeadSlots()
	}
}

// cancelDrain ends a wait of the owner for the readers to leave, without having been in: what the lock guards is as it
// was, and a poisoned lock stays poisoned.
func (l *LWLock) cancelDrain() {
	for {
		st := l.word.state.Load()
		if !l.ownedBySelf(st) && !l.isStrayed(st, l.held.Load()) || l.freeAndWake(st, st&poisoned) {
			return
		}
	}
}

// enterDrained makes the owner, which has seen no reader after it became the owner, one that is in, and returns the
// guard. No reader can have come in since: it would have found the owner, and left. A poisoned lock becomes an
// abandoned one.
//
// It is errLost if the lock names another holder by now, since Disavow has given this hold back, and ErrClosed if this
// session was found dead. A name with one wrong bit is this hold's, hit by a stray store, and is put right.
func (l *LWLock) enterDrained() (Guard, error) {
	for {
		st := l.word.state.Load()
		name := l.held.Load()
		switch {
		case l.ownedBySelf(st):
			name = st & (holds | peerMask)
		case l.isStrayed(st, name):
		case l.me.alive(l.self):
			return Guard{}, errLost
		default:
			return Guard{}, errkind.As(ErrClosed, errors.New("this session has ended while it waited for a lock"))
		}
		next := st&^(mayRead|holds|peerMask) | name
		if st&poisoned != 0 {
			next = next&^poisoned | abandoned
		}
		if l.word.state.CompareAndSwap(st, next) {
			failpoint.Hit("shmsync/lwlock/drained")
			return l.exclusiveGuard(next)
		}
	}
}
