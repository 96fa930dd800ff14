package shmsync

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// This file waits for the lock. Of the goroutines of one process, one at a time sleeps for the word, and the others wait in
// this process for room: a thousand goroutines that want one lock cost one sleeper.

// wait takes the lock, however long that takes, until ctx is over or the view ends. A hold that Disavow has mistaken for a
// stray store's and given back is taken anew.
func (l *LWLock) wait(ctx context.Context, w want) (Guard, error) {
	for {
		g, err := l.waitOnce(ctx, w)
		if err != errLost {
			return g, err
		}
	}
}

// waitOnce waits as wait does, and returns errLost too. If the access to the word faults it returns the fault as an error,
// or, if the view of the bytes has ended, the view's error (see late).
//
// It tries to take the lock before it sends to the channel room, so that a free lock is taken without a queue. The call of
// drain after that first try does not need room: only the goroutine that is the lock's owner drains.
func (l *LWLock) waitOnce(ctx context.Context, w want) (g Guard, err error) {
	if l.view.Ended() {
		return g, l.view.Err()
	}
	defer late(&err, l.bytes)
	defer fault.Return(&err, fault.Catch())
	g, err = l.attempt(w, false)
	switch err {
	case errDrain:
		return l.drain(ctx)
	case errBlocked, errNoSlot:
	default:
		return g, err
	}
	select {
	case l.room <- struct{}{}:
	default:
		var over chan struct{}
		if l.bytes != nil && !l.bytes.Ended() {
			over = make(chan struct{})
			defer l.bytes.OnEnd(func() { close(over) })()
		}
		select {
		case l.room <- struct{}{}:
		case <-over:
			return Guard{}, l.bytes.Err()
		case <-ctx.Done():
			return Guard{}, l.view.Answer(l.waited(context.Cause(ctx)))
		}
	}
	defer func() { <-l.room }()
	return l.sleep(ctx, w)
}

// sleep takes the lock, by rounds of an attempt and a sleep. The caller has the token of l.room. A call that began before the end of the
// bytes' view ends with it; one that began after it, for a structure that cleans up, waits on.
//
// In each round the order is: load turn, attempt, set the flag in the state (announce), sleep while turn is as loaded. A
// process that frees the lock takes the flag with its swap and then changes turn. If its swap comes before the attempt, the
// attempt finds no owner; before announce, announce finds none and there is no sleep; after it, the flag has the process
// change the turn that was loaded. After each sleep the owner is asked for, and its lock taken over if it is dead.
//
// One that gives up after a sleep may have been the one that was woken for a free lock: it passes the wake-up on.
func (l *LWLock) sleep(ctx context.Context, w want) (Guard, error) {
	if l.spins.Until(func() bool { return l.word.state.Load()&peerMask == 0 }) {
		if g, err := l.attempt(w, false); err == nil {
			return g, nil
		} else if err == errDrain {
			return l.drain(ctx)
		}
	}
	after := l.bytes.Ended()
	if !after {
		defer l.bytes.OnEnd(l.wakeHere)()
	}
	entry := l.enlist(w.mode)
	defer l.delist(entry)
	failpoint.Hit("shmsync/lwlock/enlisted")
	wait := waits.Wait{Waits: l.me.Waits}
	defer wait.End()
	for slept := false; ; slept = true {
		if !after && l.bytes.Ended() {
			return Guard{}, l.bytes.Err()
		}
		if ctx.Err() != nil {
			if slept && w.mode == exclusive && l.word.state.Load()&peerMask == 0 {
				failpoint.Hit("shmsync/lwlock/given-up")
				l.wakeTurn(exclusive, 1) // a wake-up that may have been meant for another
			}
			return Guard{}, l.view.Answer(l.waited(context.Cause(ctx)))
		}
		seen := l.word.turn[w.mode].Load()
		g, err := l.attempt(w, slept)
		switch err {
		case errBlocked:
			if !l.announce(w, slept) {
				continue
			}
			failpoint.Hit("shmsync/lwlock/announced")
			wait.Sleep(ctx, func(ctx context.Context, d time.Duration) {
				futex.WaitAny(ctx, d, futex.Word{W: &l.word.turn[w.mode], Val: seen})
			}, l.word.state.Load()&peerMask)
			failpoint.Hit("shmsync/lwlock/woken")
			if g, took, err := l.takeOver(w); took {
				return g, err
			}
		case errNoSlot:
			futex.Wait(&l.word.turn[w.mode], seen, within(ctx, minPatience))
		case errDrain:
			return l.drain(ctx)
		default:
			return g, err
		}
	}
}

// announce stores in the state that a process is about to sleep for the lock and, if it has slept before, that it is hungry.
// It reports whether there is a reason to sleep; without one the caller tries again at once.
func (l *LWLock) announce(w want, slept bool) bool {
	for {
		st := l.word.state.Load()
		if st&peerMask == 0 && (slept || st&hungry == 0) || st&poisoned != 0 && !w.repair {
			return false
		}
		next := st | asleepBit[w.mode]
		if slept {
			next |= hungry
		}
		if st == next || l.word.state.CompareAndSwap(st, next) {
			return true
		}
	}
}
