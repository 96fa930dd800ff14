package shmsync

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/waits"
)

// What the lock is wanted for; also the index of the turn to sleep on.
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

var asleepBit = [2]uint64{sleepX, sleepS}

// Any of these instructions can be a process's last:
//
//   - Before its compare-and-swap of state or slot a process has left nothing.
//   - An owner beside mayRead was never in: the process that finds it dead clears it. Without mayRead it was, or was about
//     to leave: the process that finds it dead takes its place, abandoned.
//   - A reader dead with a count in its slot is subtracted, whether it was in, on its way in or on its way out.
//   - mayRead may be set with no reader left: the next owner looks at the slots once more than needed.
//   - A waiter's entry, hungry and the sleep flags may be left behind by the dead: they cost a needless wake-up, or
//     make a newcomer sleep for a millisecond, once.
//   - If a process dies between giving the lock back and waking: no process sleeps longer than maxAsk without looking.

// Outcomes of an attempt beside success.
var (
	errBlocked = errors.New("held")
	errDrain   = errors.New("owner, but for readers") // the owner is this process, and readers are in the way
	errNoSlot  = errors.New("no free slot")
	errLost    = errors.New("given back") // the hold was mistaken for a stray store
)

// attempt tries to take the lock once. Slept is whether the caller has been asleep for it.
//
// As in enter, the look at the view comes between the load of the word and its swap: the end of a view changes the
// word, if it is not held by a living session. So nothing is taken after the end has given back what was held.
func (l *LWLock) attempt(w want, slept bool) (Guard, error) {
	for {
		st := l.word.state.Load()
		switch {
		case l.view.Ended():
			return Guard{}, l.view.Err()
		case st&poisoned != 0 && !w.repair:
			return Guard{}, fmt.Errorf("a process died holding this lock, and who held it next did not repair: %w",
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
			if _, err := l.taken(next); err != nil {
				return Guard{}, err
			}
			if !l.drained() {
				return Guard{}, errDrain
			}
			return l.enterDrained()
		}
		failpoint.Hit("shmsync/lwlock/taken")
		return l.taken(next)
	}
}

func (l *LWLock) attemptShared(st uint64) (Guard, error) {
	i := l.findSlot()
	if i < 0 {
		return Guard{}, errNoSlot
	}
	failpoint.Hit("shmsync/lwlock/slot")
	for {
		if st&(peerMask|poisoned) != 0 {
			l.leave(l.slot(i))
			return Guard{}, errBlocked
		}
		// The swap says, even if it changes nothing, that no owner came between. Flags without an owner are left
		// over: who believes in them sleeps for a moment only.
		if l.word.state.CompareAndSwap(st, st&holds|mayRead) {
			failpoint.Hit("shmsync/lwlock/shared")
			return l.reads(i)
		}
		st = l.word.state.Load()
	}
}

// enterDrained makes the owner, which has seen no reader, one that is in.
func (l *LWLock) enterDrained() (Guard, error) {
	for {
		st := l.word.state.Load()
		name := l.held.Load()
		switch {
		case l.owned(st):
			name = st & (holds | peerMask)
		case l.stray(st, name):
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
			return l.taken(next)
		}
	}
}

// takeOver deals with a dead owner; if the lock is the caller's now, it returns the guard, or why it is none.
func (l *LWLock) takeOver(w want) (g Guard, took bool, err error) {
	st := l.word.state.Load()
	switch {
	case st&peerMask == 0 || st&poisoned != 0 && !w.repair || l.owned(st) || l.me.alive(st) || l.view.Ended():
		return Guard{}, false, nil
	case st&mayRead != 0:
		l.free(st, st&poisoned)
		return Guard{}, false, nil
	}
	// The next number, so that a holder that a stray store has renamed tells this hold from its own.
	next := (st&holds + oneHold) | st&^(holds|peerMask|poisoned) | l.self | abandoned | sleepX
	if !l.word.state.CompareAndSwap(st, next) {
		return Guard{}, false, nil
	}
	failpoint.Hit("shmsync/lwlock/inherited")
	g, err = l.taken(next)
	return g, true, err
}

// release ends this process's exclusive hold that what names, in whatever state the word is.
func (l *LWLock) release(what uint64) {
	for {
		st := l.word.state.Load()
		if !l.stray(st, what&holds|l.self) {
			if !l.owned(st) {
				return
			}
			if st&holds != what&holds {
				l.idle.Store(what&holds + oneHold) // it is over, if a stray store has changed its number
				return
			}
		}
		poison := uint64(0)
		if st&what&abandoned != 0 {
			poison = poisoned
		}
		if l.free(st, poison) {
			l.idle.Store(what&holds + oneHold)
			return
		}
	}
}

// retire ends a wait of the owner for the readers to leave.
func (l *LWLock) retire() {
	for {
		st := l.word.state.Load()
		if !l.owned(st) && !l.stray(st, l.held.Load()) || l.free(st, st&poisoned) {
			return
		}
	}
}

// stray reports whether st is the state of the present hold of this process, which name names, with one wrong bit: a
// stray store has made it another holder's, or of another number. No other holder has that number, since each hold has
// the next one. A lock whose view has ended may be another holder's by right.
func (l *LWLock) stray(st, name uint64) bool {
	h, is := l.hold()
	return is && h == name && bits.OnesCount64((st^name)&(holds|peerMask)) == 1 && !l.bytes.Ended()
}

// free takes the owner out of st, poisons the lock or not, and wakes those who wait.
func (l *LWLock) free(st, poison uint64) bool {
	next := (st&holds + oneHold) | st&(mayRead|hungry) | poison
	if !l.word.state.CompareAndSwap(st, next) {
		return false
	}
	failpoint.Hit("shmsync/lwlock/freed")
	l.wakeThose(st, poison != 0)
	return true
}

// wakeThose wakes the sleepers that st tells of: one that wants the lock exclusively, or all if it is of no use any more.
func (l *LWLock) wakeThose(st uint64, everyone bool) {
	if st&sleepX != 0 {
		n := 1
		if everyone {
			n = all
		}
		l.wakeTurn(exclusive, n)
		failpoint.Hit("shmsync/lwlock/half-woken")
	}
	if st&sleepS != 0 {
		l.wakeTurn(shared, all)
	}
}

const all = 1 << 30

func (l *LWLock) wakeTurn(m mode, n int) {
	t := &l.word.turn[m]
	t.Add(1)
	failpoint.Hit("shmsync/lwlock/turned")
	futex.Wake(t, n)
}

// wakeOwner wakes an owner who sleeps until the readers are gone.
func (l *LWLock) wakeOwner() {
	if a := &l.word.asleep; a.Load() != 0 && a.Swap(0) != 0 {
		failpoint.Hit("shmsync/lwlock/awake")
		wake(a)
	}
}

func wake(w *atomic.Uint32) { futex.Wake(w, all) }

// wait takes the lock, however long that takes. One goroutine of the process at a time sleeps for the word.
func (l *LWLock) wait(ctx context.Context, w want) (Guard, error) {
	for {
		g, err := l.waitOnce(ctx, w)
		if err != errLost {
			return g, err
		}
	}
}

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

// announce says in the state that a process is about to sleep; false if there is no reason to.
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
