package shmsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/futex"
	"github.com/godsm/godsm/internal/race"
)

// What the lock is wanted for; also the index of the turn to sleep on.
type mode int

const (
	exclusive mode = iota
	shared
)

var asleepBit = [2]uint64{sleepX, sleepS}

// Any of these instructions can be a process's last:
//
//   - Before its compare-and-swap of state or slot a process has left nothing.
//   - An owner beside mayRead was never in: whoever finds it dead clears it. Without mayRead it was, or was about
//     to leave: whoever finds it dead takes its place, abandoned.
//   - A reader dead with a count in its slot is subtracted, whether it was in, on its way in or on its way out.
//   - mayRead may be set with no reader left: the next owner looks at the slots once more than needed.
//   - A waiter's entry, hungry and the sleep flags may be left behind by the dead: they cost a needless wake-up, or
//     make a newcomer sleep for a millisecond, once.
//   - Who dies between giving the lock back and waking: nobody sleeps longer than maxAsk without looking.

// Outcomes of an attempt beside success.
var (
	errBlocked = errors.New("held")
	errDrain   = errors.New("owner, but for readers") // the owner is this process, and readers are in the way
	errNoSlot  = errors.New("no free slot")
)

// attempt tries to take the lock once. Slept is whether the caller has been asleep for it.
func (l *LWLock) attempt(m mode, slept bool) (Guard, error) {
	for {
		st := l.word.state.Load()
		switch {
		case st&poisoned != 0:
			return Guard{}, fmt.Errorf("a process died holding this lock, and who held it next did not repair: %w",
				ErrNotRecoverable)
		case st&peerMask != 0, st&hungry != 0 && !slept:
			return Guard{}, errBlocked
		case m == shared:
			return l.attemptShared(st)
		}
		next := st&mayRead | l.self
		if slept {
			next |= sleepX // others may be asleep behind the flag that the last owner took with him
		}
		if !l.word.state.CompareAndSwap(st, next) {
			continue
		}
		if st&mayRead != 0 {
			failpoint.Hit("shmsync/lwlock/owner")
			if !l.drained() {
				return Guard{}, errDrain
			}
			return l.enterDrained()
		}
		failpoint.Hit("shmsync/lwlock/taken")
		return l.taken(), nil
	}
}

func (l *LWLock) taken() Guard {
	race.Acquire(&l.word.state)
	race.Acquire(&l.word.asleep)
	return Guard{l: l}
}

func (l *LWLock) attemptShared(st uint64) (Guard, error) {
	s := l.findSlot()
	if s == nil {
		return Guard{}, errNoSlot
	}
	failpoint.Hit("shmsync/lwlock/slot")
	for {
		if st&(peerMask|poisoned) != 0 {
			l.leave(s)
			return Guard{}, errBlocked
		}
		// The swap says, even if it changes nothing, that no owner came between. Flags without an owner are left
		// over: who believes in them sleeps for a moment only.
		if l.word.state.CompareAndSwap(st, mayRead) {
			failpoint.Hit("shmsync/lwlock/shared")
			race.Acquire(&l.word.state)
			return Guard{l, s}, nil
		}
		st = l.word.state.Load()
	}
}

// findSlot enters a slot: the preferred one, one that this process has, a free one, or a dead one's.
func (l *LWLock) findSlot() *Slot {
	if l.enter(l.mine) {
		return l.mine
	}
	for _, askToo := range []bool{false, true} {
		for i := range l.slots() {
			s := l.slot(i)
			if askToo {
				l.subtract(s)
			}
			if l.enter(s) {
				return s
			}
		}
	}
	return nil
}

// subtract frees the slot if its reader is dead.
func (l *LWLock) subtract(s *Slot) {
	if w := s.w.Load(); w != 0 && w&peerMask != l.self && !l.me.alive(w) {
		s.w.CompareAndSwap(w, 0)
		failpoint.Hit("shmsync/lwlock/subtracted")
	}
}

func (l *LWLock) subtractDead() {
	for i := range l.slots() {
		l.subtract(l.slot(i))
	}
}

// drained says whether there is no reader.
func (l *LWLock) drained() bool {
	for i := range l.word.readers {
		if l.word.readers[i].w.Load() != 0 {
			return false
		}
	}
	for i := range l.more {
		if l.more[i].w.Load() != 0 {
			return false
		}
	}
	return true
}

// enterDrained makes the owner, who has seen no reader, one who is in.
func (l *LWLock) enterDrained() (Guard, error) {
	for {
		st := l.word.state.Load()
		if !l.owned(st) {
			return Guard{}, errkind.As(ErrClosed, errors.New("this session has ended while it waited for a lock"))
		}
		if l.word.state.CompareAndSwap(st, st&^mayRead) {
			failpoint.Hit("shmsync/lwlock/drained")
			return l.taken(), nil
		}
	}
}

// takeOver deals with a dead owner; it says whether the lock is the caller's now.
func (l *LWLock) takeOver() bool {
	st := l.word.state.Load()
	switch {
	case st&peerMask == 0 || st&poisoned != 0 || l.owned(st) || l.me.alive(st):
		return false
	case st&mayRead != 0:
		l.free(st)
		return false
	}
	took := l.word.state.CompareAndSwap(st, st&^peerMask|l.self|abandoned|sleepX)
	if took {
		failpoint.Hit("shmsync/lwlock/inherited")
	}
	return took
}

// release gives back what the owner holds, in whatever state.
func (l *LWLock) release() {
	for {
		st := l.word.state.Load()
		if !l.owned(st) || l.free(st) {
			return
		}
	}
}

// free takes the owner out of st and wakes those who wait.
func (l *LWLock) free(st uint64) bool {
	next := st & (mayRead | hungry)
	if st&abandoned != 0 {
		next |= poisoned
	}
	if !l.word.state.CompareAndSwap(st, next) {
		return false
	}
	failpoint.Hit("shmsync/lwlock/freed")
	if st&sleepX != 0 {
		everyone := 1
		if next&poisoned != 0 {
			everyone = all
		}
		l.wakeTurn(exclusive, everyone)
		failpoint.Hit("shmsync/lwlock/half-woken")
	}
	if st&sleepS != 0 {
		l.wakeTurn(shared, all)
	}
	return true
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
		futex.Wake(a, all)
	}
}

// try is attempt with the dead out of the way.
func (l *LWLock) try(m mode) (Guard, bool, error) {
	for range 2 {
		if m == exclusive && l.word.state.Load()&(peerMask|mayRead) == mayRead && !l.drained() {
			l.subtractDead()
			if !l.drained() {
				return Guard{}, false, nil
			}
		}
		g, err := l.attempt(m, true)
		switch err {
		case nil:
			return g, true, nil
		case errBlocked:
			if l.takeOver() {
				return l.taken(), true, nil
			}
		case errDrain:
			l.release()
		case errNoSlot:
			return Guard{}, false, nil
		default:
			return g, false, err
		}
		if l.word.state.Load()&peerMask != 0 {
			break
		}
	}
	return Guard{}, false, nil
}

// wait takes the lock, however long that takes. One goroutine of the process at a time sleeps for the word.
func (l *LWLock) wait(ctx context.Context, m mode) (Guard, error) {
	g, err := l.attempt(m, false)
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
		select {
		case l.room <- struct{}{}:
		case <-ctx.Done():
			return Guard{}, context.Cause(ctx)
		}
	}
	defer func() { <-l.room }()
	return l.sleep(ctx, m)
}

func (l *LWLock) sleep(ctx context.Context, m mode) (Guard, error) {
	if l.spins.Until(func() bool { return l.word.state.Load()&peerMask == 0 }) {
		if g, err := l.attempt(m, false); err == nil {
			return g, nil
		} else if err == errDrain {
			return l.drain(ctx)
		}
	}
	entry := l.enlist(m)
	defer l.delist(entry)
	failpoint.Hit("shmsync/lwlock/enlisted")
	patience := minPatience
	for slept := false; ; slept = true {
		if ctx.Err() != nil {
			if slept && m == exclusive && l.word.state.Load()&peerMask == 0 {
				failpoint.Hit("shmsync/lwlock/given-up")
				l.wakeTurn(exclusive, 1) // a wake-up that may have been meant for another
			}
			return Guard{}, context.Cause(ctx)
		}
		seen := l.word.turn[m].Load()
		g, err := l.attempt(m, slept)
		switch err {
		case errBlocked:
			if !l.announce(m, slept) {
				continue
			}
			failpoint.Hit("shmsync/lwlock/announced")
			futex.WaitAny(ctx, within(ctx, patience), futex.Word{W: &l.word.turn[m], Val: seen})
			failpoint.Hit("shmsync/lwlock/woken")
			if l.takeOver() {
				return l.taken(), nil
			}
			patience = min(2*patience, maxAsk)
		case errNoSlot:
			futex.Wait(&l.word.turn[m], seen, within(ctx, minPatience))
		case errDrain:
			return l.drain(ctx)
		default:
			return g, err
		}
	}
}

// announce says in the state that somebody is about to sleep; false if there is no reason to.
func (l *LWLock) announce(m mode, slept bool) bool {
	for {
		st := l.word.state.Load()
		if st&peerMask == 0 && (slept || st&hungry == 0) || st&poisoned != 0 {
			return false
		}
		next := st | asleepBit[m]
		if slept {
			next |= hungry
		}
		if st == next || l.word.state.CompareAndSwap(st, next) {
			return true
		}
	}
}

// drain waits for the readers to leave, as their lock's next owner.
func (l *LWLock) drain(ctx context.Context) (Guard, error) {
	for patience := minPatience; ; patience = min(2*patience, maxAsk) {
		if l.spins.Until(l.drained) {
			return l.enterDrained()
		}
		l.word.asleep.Store(1)
		failpoint.Hit("shmsync/lwlock/draining")
		if l.drained() {
			return l.enterDrained()
		}
		if ctx.Err() != nil {
			l.release()
			return Guard{}, context.Cause(ctx)
		}
		futex.WaitAny(ctx, within(ctx, patience), futex.Word{W: &l.word.asleep, Val: 1})
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
