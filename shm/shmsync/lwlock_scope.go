package shmsync

import "github.com/godsm/godsm/internal/scope"

// scoped is a guard that was taken inside a Session.Contain. A reader's has a number, as in checked mode, so that it is
// given back once. It implements scope.Held, whose methods say what they are for.
type scoped struct{ g Guard }

// noteInScope tells the scope that the calling goroutine is in of g, and returns g.
func (g Guard) noteInScope() Guard {
	if s := scope.Current(); s != nil {
		s.Add(scoped{g})
	}
	return g
}

// Over reports whether the guard has been unlocked. It looks at this process's own notes of its holds, never at the
// word.
func (h scoped) Over() bool {
	l := h.g.l
	if !h.g.Exclusive() {
		return !l.check.has(h.g.what)
	}
	name, is := l.holdOfSelf()
	return !is || name&holds != h.g.what&holds
}

// Abandon gives the lock back, for a goroutine that a fault has kept from it: a reader's slot as by Unlock, an
// exclusive lock as by a holder that died, since what it guards may be half-written. Then it calls what was given to
// OnFault.
func (h scoped) Abandon() {
	l := h.g.l
	if h.g.Exclusive() {
		endAtFault(func() { l.poisonHold(h.g) })
	} else {
		endAtFault(h.g.unlock)
	}
	if l.fault != nil {
		l.fault()
	}
}

// poisonHold makes the exclusive hold of g one of a holder that has died. Its number is over, so that a late Unlock of g
// does nothing. The process's own note that it has given the lock back, in idle, is made in any case, also after a
// fault: otherwise the process would take a later word that names it for its own.
func (l *LWLock) poisonHold(g Guard) {
	defer func() {
		if name, is := l.holdOfSelf(); is && name&holds == g.what&holds {
			l.idle.Store(g.what&holds + oneHold)
		}
	}()
	for {
		st := l.word.state.Load()
		if !g.holds(st) {
			return
		}
		next := ownerless(st)
		if next&holds == st&holds {
			next += oneHold
		}
		if l.word.state.CompareAndSwap(st, next) {
			l.wakeFlagged(st, false)
			return
		}
	}
}
