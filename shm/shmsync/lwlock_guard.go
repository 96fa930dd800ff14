package shmsync

import (
	"sync"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/internal/sys/race"
)

// Guard is the right to unlock, once, in any goroutine. It is a value that may be copied: of the copies, one is
// unlocked. The zero Guard is none, and its Unlock does nothing.
type Guard struct {
	l *LWLock
	// Of a reader: reading, and its slot's number; in checked mode, and inside
	// Session.Contain, above it a number of its own. Of a writer: the
	// number of its hold, and abandoned.
	what uint64
}

const (
	reading  = 1
	maxSlots = 1<<15 - 1
)

// readerIn returns what a guard of a reader in that slot has in what, without a number.
func readerIn(slot int) uint64 { return uint64(slot)<<1 | reading }

// exclusiveGuard returns the guard of an exclusive hold whose state is st, or the reason why it is none: the view has
// ended, or the hold was mistaken for a stray store and given back (errLost, for which the caller tries again).
//
// Held is stored first, the look at doubt comes afterwards: Disavow sets doubt before it looks at held a second time.
// So of a hold that Disavow gives back for lack of a held, the holder sees doubt, and finds in confirm that the lock
// is gone.
func (l *LWLock) exclusiveGuard(st uint64) (Guard, error) {
	ordered.Store64(&l.held, st&(holds|peerMask))
	if l.view.Ended() || doubt.Load() {
		if err := l.confirmHeld(st); err != nil {
			return Guard{}, err
		}
	}
	race.Acquire(&l.word.state)
	race.Acquire(&l.word.asleep)
	return Guard{l, st & (holds | abandoned)}.noteInScope(), nil
}

// readerGuard returns the guard of a reader that has entered slot i and seen no owner. If the view has ended in
// between it leaves the slot again. The guard has a number of its own in checked mode and inside a scope, so that it
// is given back once.
func (l *LWLock) readerGuard(i int) (Guard, error) {
	what := readerIn(i)
	if l.view.Ended() {
		endAtFault(func() { l.leaveSlot(l.slot(i)) })
		return Guard{}, l.view.Err()
	}
	race.Acquire(&l.word.state)
	in := scope.Current()
	if l.me.Checked || in != nil {
		what |= l.check.begin()
	}
	g := Guard{l, what}
	if in != nil {
		in.Add(scoped{g})
	}
	return g, nil
}

// Unlock gives the lock back. An abandoned lock that no process has called MarkConsistent on is poisoned by it. Of a
// session that has ended, and whose lock others have taken over, it does nothing.
//
// A second Unlock of a guard that was exclusive does nothing, as long as fewer than 32,768 exclusive holds of the
// lock, by any session, have begun since: each has a number of 15 bits, which tells it from the others. Of a shared
// guard it does nothing either in checked mode (Self.Checked), or if it was taken inside Session.Contain; else it may
// give back what another goroutine of this session holds shared, but never more than the session holds: the count does
// not go below zero.
//
// Unlock does not block. What the holder has stored is visible to the next one. The fast paths are one swap each: a
// writer's from the state that Lock left, which has no flag, so no process waits; a reader's from a slot that has this
// reader alone.
//
// A reader looks at the state after it has left its slot, and an owner at the slots after it has stored that it
// sleeps: so one of them sees the other. A reader that dies in between leaves an owner that sleeps beside a lock
// without readers; that hears of the death, as each goroutine does that waits for another session, and looks.
func (g Guard) Unlock() {
	l := g.l
	if l == nil {
		return
	}
	word, first := l.word, l.first
	switch {
	case l.over.Ended():
	case g.what == l.read:
		race.Release(&word.asleep)
		if w := l.vacant.Load(); first.w.CompareAndSwap(w+l.one, w) {
			failpoint.Hit("shmsync/lwlock/left-first")
			if word.state.Load()&peerMask != 0 {
				l.wakeOwner()
			}
			return
		}
	case g.what&reading == 0:
		race.Release(&word.state)
		n := g.what & holds
		if word.state.CompareAndSwap(n|l.self, n+oneHold) {
			ordered.Store64(&l.idle, n+oneHold)
			return
		}
	}
	g.unlock()
}

// unlock is Unlock in all other cases: flags are set, the slot has several readers or is not the first one, the guard
// has a number, or the view has ended. At the end of a view the page may be inaccessible; then nothing is left to be
// given back.
func (g Guard) unlock() {
	l := g.l
	f := func() { l.releaseExclusive(g.what) }
	if g.what&reading != 0 {
		if numbered(g.what) && !l.check.end(g.what) {
			return
		}
		f = func() { l.leaveSlot(l.slot(g.slot())) }
	}
	if l.bytes.Ended() {
		endAtFault(f)
		return
	}
	l.me.carefully(l.bytes, f)
}

// Exclusive reports whether the guard was given for exclusive use. It is a matter of the guard, also after Unlock.
func (g Guard) Exclusive() bool { return g.what&reading == 0 }

// Abandoned reports whether the lock was taken over from a holder that died with it, or whose segment was detached.
// What the lock guards may then be half-written: repair it and call MarkConsistent. It is false from then on, after Unlock
// and after the end of the view.
func (g Guard) Abandoned() bool { return g.what&(reading|abandoned) == abandoned && g.isAbandoned() }

// isAbandoned reports what Abandoned does, of a guard that was given as abandoned. It is a function of its own so that
// Abandoned can be inlined.
func (g Guard) isAbandoned() (is bool) {
	if g.l.view.Ended() {
		return false
	}
	g.l.me.carefully(g.l.bytes, func() {
		st := g.l.word.state.Load()
		is = g.holds(st) && st&abandoned != 0
	})
	return is
}

// MarkConsistent notes that what an abandoned lock guards is in order again: Unlock then leaves a lock like any other.
// The repair is stored before. A process that dies before the swap leaves an abandoned lock, whose next holder repairs
// again; one that dies after it leaves a holder that died, which is abandoned too. It does nothing to a guard that is
// not Abandoned.
func (g Guard) MarkConsistent() {
	if !g.Abandoned() {
		return
	}
	g.l.me.carefully(g.l.bytes, func() {
		for l := g.l; ; {
			st := l.word.state.Load()
			if !g.holds(st) || l.word.state.CompareAndSwap(st, st&^abandoned) {
				failpoint.Hit("shmsync/lwlock/marked")
				return
			}
		}
	})
}

// holds reports whether state is that of the guard's exclusive hold: this session's, and of the same number.
func (g Guard) holds(state uint64) bool { return state&(holds|peerMask) == g.what&holds|g.l.self }

// slot returns the number of the slot that a reader's guard is in.
func (g Guard) slot() int { return int(g.what >> 1 & maxSlots) }

// releaseOnPanic gives the lock back for a function that has not returned, and goes on with its panic. R is what
// recover has returned: nil if the function has ended its goroutine.
//
// After a fault what the lock guards may be half-written, and the function can't have seen to that: so the next holder
// finds the lock Abandoned. After any other panic the lock is in order, as it is with a deferred Unlock.
func (g Guard) releaseOnPanic(r any) {
	if _, is := r.(interface{ Addr() uintptr }); is {
		endAtFault(func() { g.l.poisonHold(g) })
	} else {
		g.Unlock()
	}
	if r != nil {
		panic(r)
	}
}

// guardCheck finds guards of readers that are unlocked twice, in checked mode, and those that are not unlocked when a
// scope ends by a fault. It lies in this process's own memory.
type guardCheck struct {
	mu     sync.Mutex
	next   uint64              // the last number
	guards map[uint64]struct{} // the numbers of those that are not unlocked yet
}

// begin returns a number for a new guard, above the bits that a guard without one uses.
func (c *guardCheck) begin() (number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guards == nil {
		c.guards = map[uint64]struct{}{}
	}
	c.next++
	number = c.next << 16
	c.guards[number] = struct{}{}
	return number
}

// end reports whether the guard was not unlocked yet, and notes that it is now.
func (c *guardCheck) end(what uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := numberOf(what)
	_, is := c.guards[number]
	delete(c.guards, number)
	return is
}

// has reports whether the guard is not unlocked yet.
func (c *guardCheck) has(what uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.guards[numberOf(what)]
	return is
}

// numberOf returns the number of a reader's guard, 0 if it has none.
func numberOf(what uint64) uint64 { return what &^ (1<<16 - 1) }

// numbered reports whether a reader's guard has a number.
func numbered(what uint64) bool { return numberOf(what) != 0 }
