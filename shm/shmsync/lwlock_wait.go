package shmsync

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// This file waits for the lock. Of the goroutines of one process, one at a time sleeps for the word, and the others
// wait in this process for room: a thousand goroutines that want one lock cost one sleeper.

// waitForLock takes the lock, however long that takes, until ctx is over or the view ends. A hold that Disavow has
// mistaken for a stray store's and given back is taken anew.
func (l *LWLock) waitForLock(ctx context.Context, w want) (Guard, error) {
	for {
		g, err := l.waitForLockOnce(ctx, w)
		if err != errLost {
			return g, err
		}
	}
}

// waitForLockOnce waits as wait does, and returns errLost too. If the access to the word faults it returns the fault
// as an error, or, if the view of the bytes has ended, the view's error (see late).
//
// It tries to take the lock before it sends to the channel room, so that a free lock is taken without a queue. The
// call of drain after that first try does not need room: only the goroutine that is the lock's owner drains.
func (l *LWLock) waitForLockOnce(ctx context.Context, w want) (g Guard, err error) {
	if l.view.Ended() {
		return g, l.view.Err()
	}
	defer errOfView(&err, l.bytes)
	defer fault.Return(&err, fault.Catch())
	g, err = l.attemptLock(w, false)
	switch err {
	case errDrain:
		return l.drainReaders(ctx)
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
			return Guard{}, l.view.Answer(l.errWaited(context.Cause(ctx)))
		}
	}
	defer func() { <-l.room }()
	return l.sleepForLock(ctx, w)
}

// sleepForLock takes the lock, by rounds of an attempt and a sleep. The caller has the token of l.room. A call that
// began before the end of the bytes' view ends with it; one that began after it, for a structure that cleans up, waits
// on.
//
// In each round the order is: load turn, attempt, set the flag in the state (announce), sleep while turn is as loaded. A
// process that frees the lock takes the flag with its swap and then changes turn. If its swap comes before the
// attempt, the attemptLock finds no owner; before announceSleep, that finds none and there is no sleep; after it, the
// flag has the process change the turn that was loaded. After each sleep the owner is asked for, and its lock taken
// over if it is dead.
//
// One that gives up after a sleep may have been the one that was woken for a free lock: it passes the wake-up on.
func (l *LWLock) sleepForLock(ctx context.Context, w want) (Guard, error) {
	if l.spins.Until(func() bool { return l.word.state.Load()&peerMask == 0 }) {
		if g, err := l.attemptLock(w, false); err == nil {
			return g, nil
		} else if err == errDrain {
			return l.drainReaders(ctx)
		}
	}
	after := l.bytes.Ended()
	if !after {
		defer l.bytes.OnEnd(l.wakeAll)()
	}
	entry := l.addWaiter(w.mode)
	defer l.removeWaiter(entry)
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
				l.wakeMode(exclusive, 1) // a wake-up that may have been meant for another
			}
			return Guard{}, l.view.Answer(l.errWaited(context.Cause(ctx)))
		}
		seen := l.word.turn[w.mode].Load()
		g, err := l.attemptLock(w, slept)
		switch err {
		case errBlocked:
			if !l.announceSleep(w, slept) {
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
			futex.Wait(&l.word.turn[w.mode], seen, withinDeadline(ctx, minPatience))
		case errDrain:
			return l.drainReaders(ctx)
		default:
			return g, err
		}
	}
}

// announceSleep stores in the state that a process is about to sleep for the lock and, if it has slept before, that it
// is hungry. It reports whether there is a reason to sleep; without one the caller tries again at once.
func (l *LWLock) announceSleep(w want, slept bool) bool {
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

// errWaited returns the error of a wait for the lock that has ended with cause: it names the sessions that hold the
// lock, and says how many others wait. After the end of the view it returns the cause alone, since the word can't be
// read.
func (l *LWLock) errWaited(cause error) error {
	s := l.Status()
	if l.view.Ended() || l.bytes.Ended() {
		return cause
	}
	held := "held by no living session"
	switch {
	case len(s.Exclusive) > 0 && s.Exclusive[0] == l.me.Peer && len(s.Shared) > 0, len(s.Exclusive) == 0 && len(s.Shared) > 0:
		held = "held shared by " + l.me.sessionNames(s.Shared)
	case len(s.Exclusive) > 0 && len(s.Shared) > 0:
		held = fmt.Sprintf("%s is next, and waits for %s", l.me.Name(s.Exclusive[0]), l.me.sessionNames(s.Shared))
	case len(s.Exclusive) > 0:
		held = "held by " + l.me.Name(s.Exclusive[0])
	}
	others := 0
	for _, w := range s.Waiting {
		if w.Peer != l.me.Peer {
			others++
		}
	}
	if others > 0 {
		held += fmt.Sprintf("; other sessions that wait: %d", others)
	}
	return fmt.Errorf("the lock is %s: %w", held, cause)
}

// withinDeadline returns d, or what is left until the deadline of ctx if that is less, and never less than 0.
func withinDeadline(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(end)), 0)
	}
	return d
}
