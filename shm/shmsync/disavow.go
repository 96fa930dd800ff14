package shmsync

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/godsm/godsm/internal/scope"
)

// This file finds locks whose words name this process as their holder though no goroutine of it holds them: a stray
// store has hit the word. Nothing else would end such a hold, since the session that it names lives. It looks for
// exclusive holders alone: a reader's slot puts one wrong bit right by itself.

// roll has the locks of this process whose words lie in segments. It refers to them weakly, so that a lock that the
// program has forgotten goes.
var roll struct {
	sync.Mutex
	locks   page[LWLock]
	mutexes page[Mutex]
	last    time.Time // when Disavow has looked
}

// page is locks of one kind, as long as they are used.
type page[T any] struct {
	list  []weak.Pointer[T]
	sweep int // when there are so many, those that are over go
}

// addLockLocked notes a lock. Over reports whether one has ended and can go. The caller holds the lock of roll.
func (p *page[T]) addLockLocked(x *T, over func(*T) bool) {
	if len(p.list) >= p.sweep {
		p.list = slices.DeleteFunc(p.list, func(w weak.Pointer[T]) bool {
			x := w.Value()
			return x == nil || over(x)
		})
		p.sweep = 2*len(p.list) + 64
	}
	p.list = append(p.list, weak.Make(x))
}

// doubt is set from the first word on that names this process and is held by no goroutine of it, as far as is
// known: each one that takes a lock exclusively then confirms that it has.
//
// A holder stores the word's state in held, then looks at doubt. Disavow sets doubt, and looks at held at least a
// second later, with the roll locked. So a holder that it overlooks is one that has not looked at doubt yet, and
// which finds in confirm that its lock was given back.
var doubt atomic.Bool

// enrollLock notes a lock for Disavow, until its bytes' view has ended.
func enrollLock(l *LWLock) {
	roll.Lock()
	defer roll.Unlock()
	roll.locks.addLockLocked(l, func(l *LWLock) bool { return l.bytes.Ended() })
}

// pause is the least time between two looks of Disavow: longer than a goroutine takes from the swap of a state to its
// store of held, unless it is stopped in between. One that is stopped finds in confirm what has become of its hold.
const pause = 900 * time.Millisecond

// Disavow gives back the locks of this process, LWLocks and Mutexes in segments, whose words name a session of this
// process as their exclusive holder without a goroutine that holds them: a stray store has named it. The next holder
// finds such a lock Abandoned. A word that is wrong is given back by the second call that sees it so. A session calls
// Disavow once a second; calls that come sooner do nothing. It waits for no lock but the roll's, and looks at each
// lock of the process once.
func Disavow() {
	roll.Lock()
	defer roll.Unlock()
	if now := time.Now(); now.Sub(roll.last) < pause {
		return
	} else {
		roll.last = now
	}
	var locks []*LWLock
	held := map[uint64]bool{}
	for _, p := range roll.locks.list {
		if l := p.Value(); l != nil && !l.bytes.Ended() {
			locks = append(locks, l)
			if h, is := l.holdOfSelf(); is {
				held[h] = true
			}
		}
	}
	for _, l := range locks {
		endAtFault(func() { l.disavowLocked(held) })
	}
	for _, p := range roll.mutexes.list {
		if m := p.Value(); m != nil {
			endAtFault(m.disavowLocked)
		}
	}
}

// disavowLocked gives the lock back if its word names this session, no hold of the process accounts for that, and the
// last call has found the same. The map held has the state of each hold of this process, whichever of its LWLocks the
// hold is of: a process may have made several LWLocks on one word. The caller holds the lock of roll.
//
// The first call that finds such a word sets the variable doubt, which is never cleared; only the next call gives the
// lock back. A goroutine that is about to take the lock in between has either stored its hold before that next call,
// so that the call sees it, or it loads doubt after the store and confirms its hold.
func (l *LWLock) disavowLocked(held map[uint64]bool) {
	st := l.word.state.Load()
	name := st & (holds | peerMask)
	if !l.ownedBySelf(st) || l.bytes.Ended() || held[name] || l.misnumbered(name) {
		l.suspect = 0
		return
	}
	if l.suspect != name {
		l.suspect = name
		if !doubt.Swap(true) {
			scope.Raise()
		}
		return
	}
	l.suspect = 0
	if l.word.state.CompareAndSwap(st, ownerless(st)) {
		l.wakeFlagged(st, false)
	}
}

// misnumbered reports whether name is that of this lock's hold, but for one bit of its number.
func (l *LWLock) misnumbered(name uint64) bool {
	h, is := l.holdOfSelf()
	return is && bits.OnesCount64(h^name) == 1
}

// holdOfSelf returns owner and number of the hold that this process has, and whether it has one.
func (l *LWLock) holdOfSelf() (name uint64, is bool) {
	h := l.held.Load()
	return h, h != 0 && h&holds+oneHold != l.idle.Load()
}

// confirmHeld returns nil if the lock is held with state st, which has been stored in held. After the end of the view
// it gives the hold up and returns the view's error; if the word has another holder or number, it returns errLost. It
// takes the lock of roll, so that no Disavow is between its look and its swap. If the word names this session by
// another number, held follows it: that hold is another goroutine's.
func (l *LWLock) confirmHeld(st uint64) error {
	if l.view.Ended() {
		endAtFault(func() { l.undoLateHold(st) })
		return l.view.Err()
	}
	roll.Lock()
	defer roll.Unlock()
	name := l.word.state.Load() & (holds | peerMask)
	if name == st&(holds|peerMask) {
		return nil
	}
	if l.ownedBySelf(name) {
		l.held.Store(name)
	}
	return errLost
}
