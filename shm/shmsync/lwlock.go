package shmsync

import (
	"context"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/race"
	"github.com/godsm/godsm/internal/spin"
)

// LWLockWord is what of a LWLock lies in shared memory. Its zero value is unlocked. It is
// 256 bytes, and best aligned to 64.
//
//	state    who holds it exclusively, or is about to; flags. Changed by compare-and-swap only
//	asleep   the exclusive one sleeps until the readers are gone. Futex
//	turn     news for those who wait: for exclusive, for shared use. Futexes
//	waiters  who waits, for people; a waiter that finds no room is not listed
//	readers  who holds it shared, and how often
type LWLockWord struct {
	_       structs.HostLayout
	state   atomic.Uint64
	asleep  atomic.Uint32
	turn    [2]atomic.Uint32 // exclusive, shared
	_       [4]byte
	waiters [13]Slot
	readers [16]Slot
}

// The state: bits 0-42 are the exclusive owner, 0 if there is none.
const (
	// mayRead: there may be readers. Set by the first one, when there is no owner; cleared by an owner who has seen
	// that there are none. An owner beside mayRead is waiting for the readers to leave; without it, he is in.
	mayRead = 1 << (43 + iota)
	// sleepX, sleepS: somebody may be asleep on turn.
	sleepX
	sleepS
	// hungry: somebody has waited for long; the lock is for those who have slept.
	hungry
	// abandoned: the owner took over from a dead one, and has not said MarkConsistent.
	abandoned
	// poisoned: an abandoned lock was unlocked. It stays so.
	poisoned
)

// LWLock is a lock for one writer or many readers on a LWLockWord, as one process sees it. Its methods are
// safe for concurrent use; all goroutines that act for one session share one LWLock. Locking twice in one
// goroutine waits for itself.
//
// A free lock is taken and given back by one or two atomic operations each. A writer that waits keeps new readers
// out, so none starves; who is woken competes with who comes, until one has waited for a millisecond: then those
// who have slept go first. As many processes can read at once as there are slots (16, and more by NewLWLock), each
// with any number of goroutines; the next one waits for a slot.
type LWLock struct {
	word  *LWLockWord
	self  uint64
	mine  *Slot // the one to try first
	me    Self
	more  []Slot
	room  chan struct{} // of those who wait in this process, one at a time waits for the word
	spins spin.Budget
}

// NewLWLock returns the lock on w, for use by self. More are slots beside w, the same ones in every process.
func NewLWLock(w *LWLockWord, self Self, more ...Slot) *LWLock {
	l := &LWLock{word: w, self: self.Peer.Word(), me: self, more: more, room: make(chan struct{}, 1)}
	n := len(w.readers) + len(more)
	l.mine = l.slot(preferred(self.Row, n))
	return l
}

// preferred spreads neighbouring rows over cache lines.
func preferred(row, n int) int {
	lines := max(n/8, 1)
	return (row%lines*8 + row/lines%8) % n
}

func (l *LWLock) slot(i int) *Slot {
	if n := len(l.word.readers); i >= n {
		return &l.more[i-n]
	}
	return &l.word.readers[i]
}

func (l *LWLock) slots() int { return len(l.word.readers) + len(l.more) }

// Guard is the right to unlock, once, in any goroutine.
type Guard struct {
	l    *LWLock
	slot *Slot // of a reader; nil if the lock is held exclusively
}

// Lock waits for exclusive use until ctx is over. A holder that died makes nobody wait longer than it takes to
// find that out; if it held exclusively, the guard is Abandoned. A poisoned lock is ErrNotRecoverable.
func (l *LWLock) Lock(ctx context.Context) (Guard, error) {
	if l.word.state.CompareAndSwap(0, l.self) {
		failpoint.Hit("shmsync/lwlock/locked")
		race.Acquire(&l.word.state)
		race.Acquire(&l.word.asleep)
		return Guard{l: l}, nil
	}
	return l.wait(ctx, exclusive)
}

// RLock waits for shared use until ctx is over, as Lock does. If the guard is Abandoned it is exclusive, so
// that the caller can repair.
func (l *LWLock) RLock(ctx context.Context) (Guard, error) {
	if s := l.mine; s.w.CompareAndSwap(0, l.self+unit) || l.enter(s) {
		failpoint.Hit("shmsync/lwlock/entered")
		if st := l.word.state.Load(); st == mayRead || st == 0 && l.word.state.CompareAndSwap(0, mayRead) {
			failpoint.Hit("shmsync/lwlock/reading")
			race.Acquire(&l.word.state)
			return Guard{l, s}, nil
		}
		l.leave(s)
	}
	return l.wait(ctx, shared)
}

// TryLock is Lock without waiting; it asks whether those in the way are alive. It fails too if a reader is just
// about to find the lock taken.
func (l *LWLock) TryLock() (g Guard, ok bool, err error) {
	if l.word.state.CompareAndSwap(0, l.self) {
		failpoint.Hit("shmsync/lwlock/tried")
		race.Acquire(&l.word.state)
		race.Acquire(&l.word.asleep)
		return Guard{l: l}, true, nil
	}
	return l.try(exclusive)
}

// TryRLock is RLock without waiting; it asks whether the one in the way is alive.
func (l *LWLock) TryRLock() (g Guard, ok bool, err error) { return l.try(shared) }

// Unlock gives the lock back. An abandoned lock that nobody has called MarkConsistent on is poisoned by it. Of a
// session that has ended, and whose lock others have taken over, it does nothing.
func (g Guard) Unlock() {
	l := g.l
	if g.slot != nil {
		race.Release(&l.word.asleep)
		if !g.slot.w.CompareAndSwap(l.self+unit, 0) {
			l.leave(g.slot)
		} else {
			l.left()
		}
		return
	}
	race.Release(&l.word.state)
	if !l.word.state.CompareAndSwap(l.self, 0) {
		l.release()
	}
}

// Exclusive says whether nobody else has the lock.
func (g Guard) Exclusive() bool { return g.slot == nil }

// Abandoned says whether the lock was taken over from a holder that died with it. What the lock guards may then be
// half-written: repair it and call MarkConsistent.
func (g Guard) Abandoned() bool { return g.slot == nil && g.l.word.state.Load()&abandoned != 0 }

// MarkConsistent says that what an abandoned lock guards is in order again.
func (g Guard) MarkConsistent() {
	if g.slot == nil && g.l.owned(g.l.word.state.Load()) {
		g.l.word.state.And(^uint64(abandoned))
		failpoint.Hit("shmsync/lwlock/marked")
	}
}

func (l *LWLock) owned(state uint64) bool { return state&peerMask == l.self }

// enter writes one more reader of this process into s; false if s is somebody else's.
func (l *LWLock) enter(s *Slot) bool {
	for {
		w := s.w.Load()
		if w != 0 && (w&peerMask != l.self || w+unit < w) {
			return false
		}
		if s.w.CompareAndSwap(w, (w|l.self)+unit) {
			return true
		}
	}
}

// leave takes one reader of this process out of s, and wakes the writer who waits for that.
func (l *LWLock) leave(s *Slot) {
	for swapped := false; !swapped; {
		w := s.w.Load()
		if w&peerMask != l.self {
			return // this session has ended, and somebody has found out
		}
		next := w - unit
		if next < unit {
			next = 0
		}
		swapped = s.w.CompareAndSwap(w, next)
	}
	l.left()
}

// left wakes the writer who waits for a reader that has left its slot.
func (l *LWLock) left() {
	failpoint.Hit("shmsync/lwlock/left")
	if l.word.state.Load()&peerMask != 0 {
		l.wakeOwner()
	}
}
