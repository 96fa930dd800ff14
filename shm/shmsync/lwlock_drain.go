package shmsync

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// drain waits for the readers to leave, as their lock's next owner.
func (l *LWLock) drain(ctx context.Context) (Guard, error) {
	after := l.bytes.Ended()
	if !after {
		defer l.bytes.OnEnd(l.wakeHere)()
	}
	wait := waits.Wait{Waits: l.me.Waits}
	defer wait.End()
	for {
		if l.spins.Until(l.drained) {
			return l.enterDrained()
		}
		l.word.asleep.Store(1)
		failpoint.Hit("shmsync/lwlock/draining")
		if l.drained() {
			return l.enterDrained()
		}
		if !after && l.bytes.Ended() || ctx.Err() != nil {
			why := context.Cause(ctx)
			if why != nil && !l.bytes.Ended() {
				why = l.waited(why)
			}
			contained(l.retire)
			if !after && l.bytes.Ended() {
				return Guard{}, l.bytes.Err()
			}
			return Guard{}, why
		}
		wait.Sleep(ctx, func(ctx context.Context, d time.Duration) {
			futex.WaitAny(ctx, d, futex.Word{W: &l.word.asleep, Val: 1})
		}, l.readersNow()...)
		failpoint.Hit("shmsync/lwlock/drain-woken")
		l.subtractDead()
	}
}

// within cuts d at the deadline of ctx.
func within(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(end)), 0)
	}
	return d
}
