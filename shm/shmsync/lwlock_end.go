package shmsync

import "github.com/godsm/godsm/internal/sys/fault"

// This file is about the end of the bytes that a lock lies in, or of its session: what the process holds is given
// back, and no call that is under way takes the lock afterwards.

// endAtFault runs f where bytes may be gone already, and ends it at a fault: what can't be reached any more has
// nothing to be given back. Any other panic goes on.
func endAtFault(f func()) {
	defer fault.Ignore(fault.Catch())
	f()
}

// endAtLateFault runs f, which uses bytes that end with v, perhaps while it runs, and ends it at a fault after that end.
// An earlier fault, which only a truncated object causes, goes on: it is Session.Contain's, or ends the process.
func endAtLateFault(v interface{ Ended() bool }, f func()) {
	was := fault.Catch()
	defer func() {
		r, err := recover(), error(nil)
		if fault.Restore(&err, was, r); err != nil && !v.Ended() {
			panic(r)
		}
	}()
	f()
}

// carefully runs f as endAtLateFault does in checked mode, where bytes that have ended are inaccessible. In other modes they are
// private pages, and f runs without a fault scope.
func (s Self) carefully(v interface{ Ended() bool }, f func()) {
	if s.Checked {
		endAtLateFault(v, f)
		return
	}
	f()
}

// releaseAtEnd gives what this process holds to the others at the end of the view, before the bytes go: an exclusive
// lock as one of a holder that died, a reader's slot as a free one. It takes the process off the list of those that
// wait, and wakes all.
//
// If the session ends, nothing is given back: its row goes too, and from then on the lock is one of a holder that died.
// Until then the bytes may be lent (Segment.With), and the hold with them.
func (l *LWLock) releaseAtEnd() {
	if l.me.View.Ended() {
		l.wakeAll()
		return
	}
	endAtFault(func() {
		l.barCalls(true)
		for i := range l.word.waiters {
			s := &l.word.waiters[i]
			if w := s.w.Load(); w&peerMask == l.self {
				s.w.CompareAndSwap(w, 0)
			}
		}
	})
	l.wakeAll()
}

// barCalls changes every word that a call which began before the end could swap, also one that this process does not
// hold: such a call has loaded a word, then looked at the view, and is about to swap the word. If leaveAtEnd, what
// this process holds is given to the others.
//
// A state without an owner, or with a dead session, gets the next number; each slot the next of its ends. A state of
// another living holder is left: no call of this process can swap that one, and when it changes it has another number.
func (l *LWLock) barCalls(giveBack bool) {
	for {
		st := l.word.state.Load()
		next := st
		switch {
		case l.ownedBySelf(st):
			if giveBack {
				next = ownerless(st)
			}
		case st&peerMask == 0 || !l.me.alive(st):
			next = st + oneHold
		}
		if l.word.state.CompareAndSwap(st, next) {
			break
		}
	}
	for i := range l.slots() {
		for s := l.slot(i); ; {
			w := s.w.Load()
			r := readerOf(w)
			if giveBack && r.peer == l.self {
				r.times = 0
			}
			r.ends = (r.ends + 1) & 3
			if s.w.CompareAndSwap(w, r.word()) {
				break
			}
		}
	}
}

// ownerless returns the state without its owner. One that was in is replaced by lostOwner, so that the lock is one of
// a holder that died; one that was waiting for readers has changed nothing, and leaves a free lock.
func ownerless(st uint64) uint64 {
	if st&mayRead != 0 {
		return st&(holds|mayRead|hungry|poisoned) + oneHold
	}
	return st&^peerMask | lostOwner
}

// undoLateHold undoes a hold that has come too late, after the end of the view: the next holder finds the lock as the
// caller did, free, or abandoned if it was taken over from a dead holder. A state of another hold it leaves as it is.
func (l *LWLock) undoLateHold(st uint64) {
	for {
		w := l.word.state.Load()
		if w&(holds|peerMask) != st&(holds|peerMask) {
			return
		}
		next := w&(mayRead|hungry|holds) + oneHold
		if st&abandoned != 0 {
			next = ownerless(w)
		}
		if l.word.state.CompareAndSwap(w, next) {
			l.wakeFlagged(w, false)
			return
		}
	}
}
