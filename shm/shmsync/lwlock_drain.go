package shmsync

import (
	"context"
	"time"

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
