package shmsync

import (
	"context"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/shm"
)

// LWLockWord is what of a LWLock lies in shared memory. Its zero value is unlocked. It is
// 256 bytes, and best aligned to 64.
//
//	state    who holds it exclusively, or is about to; flags. Changed by compare-and-swap only
//	asleep   the exclusive one sleeps until the readers are gone. Futex
//	turn     news for those who wait: for exclusive, for shared use. Futexes
//	waiters  who waits, for people; a waiter that finds no room is not listed
//	readers  who holds it shared, and how often; a word that puts one wrong bit right (see reader)
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
	// that there are none. An owner beside mayRead is waiting for the readers to leave; without it, it is in.
	mayRead = 1 << (43 + iota)
	// sleepX, sleepS: a process may be asleep on turn.
	sleepX
	sleepS
	// hungry: a process has waited for long; the lock is for those who have slept.
	hungry
	// abandoned: the owner took over from a dead one, and has not said MarkConsistent.
	abandoned
	// poisoned: an abandoned lock was unlocked. It stays so until Recover.
	poisoned
	// Bits 49-63 number the exclusive holds: each Unlock adds one. So a guard finds out that its hold is over, until the
	// number is the same again, 32,768 holds later.
	oneHold
	holds = ^uint64(oneHold - 1)
)

// nobody is the owner of a lock that the end of a view has given back for a living session: a peer that there can't
// be. So to the others it is as if its holder had died.
const nobody = (MaxRows + 1) << 32

// LWLock is a lock for one writer or many readers on a LWLockWord, as one process sees it. Its methods are
// safe for concurrent use; all goroutines that act for one session share one LWLock. Locking twice in one
// goroutine waits for itself.
//
// A free lock is taken and given back by one or two atomic operations each. A writer that waits keeps new readers
// out, so none starves; who is woken competes with who comes, until one has waited for a millisecond: then those
// who have slept go first. As many processes can read at once as there are slots (16, and more by NewLWLock), each
// with up to 4,000 goroutines in a slot; the next one waits for a slot.
//
// After the end of the session, or of the view that the word lies in, each call is ErrClosed. If the word's
// segment is detached in a session that goes on, what this LWLock holds is given back: the next holder finds an
// exclusive lock Abandoned. A guard's Unlock does nothing then.
//
// A segment that another program truncates ends the process that next uses a lock in it, unless that is inside
// Session.Contain of package dsm: then the fault is the error of Contain, which gives back what its goroutine holds.
type LWLock struct {
	word  *LWLockWord
	self  uint64
	one   uint64 // what a slot that this process reads in once has more than a vacant one
	view  ends   // refuses all after its end; nil: it never ends, or the structure looks itself
	first *Slot  // the slot to try first,
	mine  int    // its number,
	read  uint64 // and the guard of a reader in it
	me    Self
	more  []Slot
	bytes *shm.View     // the view that the word lies in
	room  chan struct{} // of those who wait in this process, one at a time waits for the word
	spins spin.Budget
	check check
	fault func() // after Session.Contain has given back what was held; nil

	suspect uint64 // what Disavow has seen, under the roll's lock

	// What this process last knew of the words, so that it need not load them before it swaps them.
	_      [64]byte
	vacant atomic.Uint64 // the word of first, when it was last found vacant
	idle   atomic.Uint64 // the state, as this process last left it: its last hold's number plus one
	// held is the state of the last exclusive hold, without flags. With idle it tells a holder from a session that a
	// stray store names.
	held atomic.Uint64
	_    [40]byte
}

// NewLWLock returns the lock on w, for use by self. More are slots beside w, the same ones in every process.
// Calls with the same arguments return the same LWLock where w lies in a segment.
func NewLWLock(w *LWLockWord, self Self, more ...Slot) *LWLock {
	v := viewOf(w, self)
	if v == nil {
		return newLWLock(nil, nil, w, self, more)
	}
	type key struct {
		word *LWLockWord
		peer Peer
		more int
	}
	return madeOnce(v, key{w, self.Peer, len(more)},
		func() *LWLock { return newLWLock(v, v, w, self, more) },
		func(l *LWLock) { onEnd(w, l.giveBack) })
}

// NewLWLockUnder returns the lock on w for a structure that ends with v, whose calls look at v themselves, and hold a
// lease of v while they hold the lock. So the end of v gives nothing back, and refuses nothing: the structure may still
// take the lock to clean up. It ends the waits alone that began before it, with ErrClosed.
func NewLWLockUnder(v *shm.View, w *LWLockWord, self Self, more ...Slot) *LWLock {
	return newLWLock(nil, v, w, self, more)
}

// NewLWLockWithin returns the lock on w for a structure that ends with v. After the end of v each call is ErrClosed, and
// the structure calls Bar; what is held then is given back by its guards, until when the structure keeps the bytes.
func NewLWLockWithin(v *shm.View, w *LWLockWord, self Self, more ...Slot) *LWLock {
	return newLWLock(v, v, w, self, more)
}

// OnFault has f called whenever Session.Contain has given back a hold of the lock whose goroutine met a fault. It is for
// the structure that the lock belongs to, which ends with its last hold, and is called before the lock is used.
func (l *LWLock) OnFault(f func()) { l.fault = f }

func newLWLock(view, bytes *shm.View, w *LWLockWord, self Self, more []Slot) *LWLock {
	l := &LWLock{
		word: w, self: self.Peer.Word(), view: endsWith(view), bytes: bytes, me: self, more: more, room: make(chan struct{}, 1),
	}
	l.one = onebit.Word(l.self) + oneTime
	l.mine = preferred(self.Row, l.slots())
	l.first = l.slot(l.mine)
	l.read = readerIn(l.mine)
	if bytes != nil {
		enroll(l)
	}
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

func readerIn(slot int) uint64 { return uint64(slot)<<1 | reading }

// Lock waits for exclusive use until ctx is over. A holder that died makes no process wait longer than it takes to
// find that out; if it held exclusively, the guard is Abandoned. A poisoned lock is ErrNotRecoverable.
func (l *LWLock) Lock(ctx context.Context) (Guard, error) {
	// Behind an atomic operation the processor loads nothing before that is done. So what the loads there need is loaded
	// here: each of them takes one load then, not two that wait for one another.
	v, word, st := l.view.v, l.word, l.idle.Load()
	if v != nil && !v.Ended() && word.state.CompareAndSwap(st, st|l.self) {
		failpoint.Hit("shmsync/lwlock/locked")
		ordered.Store64(&l.held, st|l.self)
		if !v.Ended() && scope.Quiet() {
			race.Acquire(&word.state)
			race.Acquire(&word.asleep)
			return Guard{l, st}, nil
		}
		if g, err := l.taken(st | l.self); err == nil {
			return g, nil
		}
	}
	return l.wait(ctx, want{mode: exclusive})
}

// Recover is Lock for a caller that can repair all that the lock guards: it takes a poisoned lock, too, and then
// the guard is Abandoned.
func (l *LWLock) Recover(ctx context.Context) (Guard, error) {
	return l.wait(ctx, want{mode: exclusive, repair: true})
}

// RLock waits for shared use until ctx is over, as Lock does. If the guard is Abandoned it is exclusive, so
// that the caller can repair.
func (l *LWLock) RLock(ctx context.Context) (Guard, error) {
	// As in Lock; and w is loaded before the look at the view, as the end of a view expects: see enter.
	v, word, s, w := l.view.v, l.word, l.first, l.vacant.Load()
	if v == nil || v.Ended() || !s.w.CompareAndSwap(w, w+l.one) {
		if !l.enter(s) {
			return l.wait(ctx, want{mode: shared})
		}
	}
	failpoint.Hit("shmsync/lwlock/entered")
	st := word.state.Load()
	if st&^holds != mayRead && (st&^holds != 0 || !word.state.CompareAndSwap(st, st|mayRead)) {
		l.leave(s)
		return l.wait(ctx, want{mode: shared})
	}
	failpoint.Hit("shmsync/lwlock/reading")
	if v.Ended() || l.me.Checked || !scope.Quiet() {
		return l.reads(l.mine)
	}
	race.Acquire(&word.state)
	return Guard{l, l.read}, nil
}

// TryLock is Lock without waiting; it asks whether those in the way are alive. It fails too if a reader is just
// about to find the lock taken.
func (l *LWLock) TryLock() (g Guard, ok bool, err error) {
	st := l.idle.Load()
	if !l.view.Ended() && l.word.state.CompareAndSwap(st, st|l.self) {
		failpoint.Hit("shmsync/lwlock/tried")
		if g, err := l.taken(st | l.self); err == nil {
			return g, true, nil
		}
	}
	return l.try(exclusive)
}

// TryRLock is RLock without waiting; it asks whether the one in the way is alive.
func (l *LWLock) TryRLock() (g Guard, ok bool, err error) { return l.try(shared) }

// Unlock gives the lock back. An abandoned lock that no process has called MarkConsistent on is poisoned by it. Of a
// session that has ended, and whose lock others have taken over, it does nothing.
//
// A second Unlock of a guard that was exclusive does nothing, as long as fewer than 32,768 exclusive holds of the lock, by
// any session, have begun since: each has a number of 15 bits, which tells it from the others. Of a shared guard it does
// nothing either in checked mode (Self.Checked), or if it was taken inside Session.Contain; else it may give back what
// another goroutine of this session holds shared, but never more than the session holds: the count does not go below zero.
func (g Guard) Unlock() {
	l := g.l
	if l == nil {
		return
	}
	word, first := l.word, l.first
	switch {
	case l.bytes.Ended():
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

// unlock is Unlock in all other cases. At the end of a view the page may be inaccessible.
func (g Guard) unlock() {
	l := g.l
	f := func() { l.release(g.what) }
	if g.what&reading != 0 {
		if numbered(g.what) && !l.check.end(g.what) {
			return
		}
		f = func() { l.leave(l.slot(g.slot())) }
	}
	if l.bytes.Ended() {
		contained(f)
		return
	}
	f()
}

// Exclusive reports whether no other guard has the lock.
func (g Guard) Exclusive() bool { return g.what&reading == 0 }

// Abandoned reports whether the lock was taken over from a holder that died with it, or whose segment was detached.
// What the lock guards may then be half-written: repair it and call MarkConsistent.
func (g Guard) Abandoned() bool {
	return g.what&(reading|abandoned) == abandoned && !g.l.view.Ended() && g.has(g.l.word.state.Load()) &&
		g.l.word.state.Load()&abandoned != 0
}

// MarkConsistent says that what an abandoned lock guards is in order again.
func (g Guard) MarkConsistent() {
	if !g.Abandoned() {
		return
	}
	for l := g.l; ; {
		st := l.word.state.Load()
		if !g.has(st) || l.word.state.CompareAndSwap(st, st&^abandoned) {
			failpoint.Hit("shmsync/lwlock/marked")
			return
		}
	}
}

// has reports whether state is that of the guard's exclusive hold.
func (g Guard) has(state uint64) bool { return state&(holds|peerMask) == g.what&holds|g.l.self }

// slot returns the number of a reader's slot.
func (g Guard) slot() int { return int(g.what >> 1 & maxSlots) }

// taken returns the guard of a hold whose state is st, or says why it is none: the view has ended, or the hold was
// mistaken for a stray store and given back.
func (l *LWLock) taken(st uint64) (Guard, error) {
	ordered.Store64(&l.held, st&(holds|peerMask))
	if l.view.Ended() || doubt.Load() {
		if err := l.confirm(st); err != nil {
			return Guard{}, err
		}
	}
	race.Acquire(&l.word.state)
	race.Acquire(&l.word.asleep)
	return Guard{l, st & (holds | abandoned)}.note(), nil
}

// reads returns the guard of a reader that has entered slot i.
func (l *LWLock) reads(i int) (Guard, error) {
	what := readerIn(i)
	if l.view.Ended() {
		contained(func() { l.leave(l.slot(i)) })
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

func (l *LWLock) owned(state uint64) bool { return state&peerMask == l.self }
