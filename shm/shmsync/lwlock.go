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
//	field    stored by                              meaning
//	state    each process that takes it, gives it   the session that holds it exclusively, or is about to; flags.
//	         back or waits for it                   Changed by compare-and-swap only
//	asleep   the owner: 1; the last reader: 0       1: the owner sleeps until the readers are gone. Futex
//	turn     the process that gives it back         goes up; those that wait sleep on it, for exclusive use on the
//	                                                first, for shared use on the second. Futexes
//	waiters  the process in it; one that finds      the sessions that wait, for people; a waiter that finds no room is
//	         that one dead: itself                  not listed. Nothing is decided by it
//	readers  the process in it; one that finds      the sessions that hold it shared, and how often; a word that puts
//	         that one dead: 0                       one wrong bit right (see reader)
//
// Every process loads every field at any time. What a load has found may be over by the time it is judged; each change
// is a swap from what was found, and fails then. Readers and owner exclude each other by the order of their stores: a
// reader stores its slot before it loads the state, an owner its state before it loads the slots. Of the two that come
// at once at least one sees the other. If both do, the reader leaves its slot, and the owner waits for that.
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
	// abandoned: the owner took over from a dead session, and has not said MarkConsistent.
	abandoned
	// poisoned: an abandoned lock was unlocked. It stays so until Recover.
	poisoned
	// Bits 49-63 number the exclusive holds: each Unlock adds one. So a guard finds out that its hold is over, until the
	// number is the same again, 32,768 holds later.
	oneHold
	holds = ^uint64(oneHold - 1)
)

// The moves of the state, each one swap. "In" is an owner without mayRead.
//
//	from               to                   by
//	no owner, no       owner, in            Lock, TryLock; the first one to come, or one that has slept if hungry is set.
//	mayRead                                 Of a poisoned lock Recover alone, and then abandoned
//	no owner, mayRead  owner beside mayRead the same: it drains the lock, see drain
//	owner beside       owner, in            the owner, which has seen no reader. A poisoned lock becomes an abandoned one
//	mayRead
//	owner beside       no owner, mayRead    the owner that gives up; any process that finds it dead
//	mayRead
//	owner, in          no owner             Unlock; poisoned if the hold was abandoned and not marked consistent
//	owner, in          lostOwner            the end of the owner's view, a fault of its goroutine, or Disavow
//	a dead owner, in,  another owner, in,   any process that waits or tries
//	or lostOwner       abandoned
//	no owner           mayRead              a reader that has its slot
//
// The hold's number goes up by one in each move from an owner to none, and in the one that takes over from a dead owner.

// lostOwner is the owner of a lock that the end of a view has given back for a living session: a peer that there can't
// be. So to the others it is as if its holder had died.
const lostOwner = (MaxRows + 1) << 32

// LWLock is a lock for one writer or many readers on a LWLockWord, as one process sees it. Its methods are
// safe for concurrent use; all goroutines that act for one session share one LWLock. Locking twice in one
// goroutine waits for itself.
//
// A free lock is taken and given back by one or two atomic operations each. A writer that waits keeps new readers
// out, so none starves; a goroutine that is woken competes with those that come, until one has waited for a millisecond:
// then those that have slept go first. As many processes can read at once as there are slots (16, and more by
// NewLWLock), each with up to 4,000 goroutines in a slot; the next one waits for a slot.
//
// After the end of the session, or of the view that the word lies in, each call is ErrClosed. If the word's
// segment is detached in a session that goes on, what this LWLock holds is given back: the next holder finds an
// exclusive lock Abandoned. A guard's Unlock does nothing then.
//
// A segment that another program truncates ends the process that next uses a lock in it, unless that is inside
// Session.Contain of package dsm: then the fault is the error of Contain, which gives back what its goroutine holds.
type LWLock struct {
	// What the fast paths load, and never changes: 64 bytes, as long as a cache line. Quick is the view of the field view, and
	// over is bytes. The fast paths have no fault scope: in checked mode, where bytes that have ended are inaccessible, a
	// goroutine may stand between its look at a view and its swap of a word when they end. There quick is nil and over has
	// ended, so that every call takes a slow path, which has a scope.
	word  *LWLockWord
	self  uint64
	one   uint64    // what a slot that this process reads in once has more than a vacant one
	quick *shm.View // refuses all after its end
	over  *shm.View // the view that the word lies in
	first *Slot     // the slot to try first,
	read  uint64    // and the guard of a reader in it
	mine  int32     // its number
	_     [4]byte

	// What this process last knew of the words, so that it need not load them before it swaps them. All goroutines load and
	// store them without a lock. A value that is out of date costs a failed swap, and the call then takes the slow path.
	vacant atomic.Uint64 // the word of first, when it was last found vacant
	idle   atomic.Uint64 // the state, as this process last left it: its last hold's number plus one
	// held is the state of the last exclusive hold, without flags. With idle it tells a holder from a session that a
	// stray store names: the process holds the lock while idle is not the number that follows held's (see hold). A
	// goroutine that takes the lock stores held after its swap of the state, one that gives it back stores idle after
	// its swap. Between swap and store the process holds, or has held, a lock of which these two do not speak yet:
	// that is why Disavow gives a lock back only when it has seen it so twice.
	held atomic.Uint64
	_    [40]byte

	me    Self
	view  ends      // quick, in checked mode too
	bytes *shm.View // over, in checked mode too
	more  []Slot
	room  chan struct{} // of those who wait in this process, one at a time waits for the word
	spins spin.Budget
	check guardCheck
	fault func() // after Session.Contain has given back what was held; nil

	suspect uint64 // what Disavow has seen, under the roll's lock
}

// NewLWLock returns the lock on w, for use by self. More are slots beside w, the same ones in every process.
// Calls with the same arguments return the same LWLock where w lies in a segment; otherwise the caller makes one and
// shares it among its goroutines. It reads no shared memory.
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
		func(l *LWLock) { onBytesEnd(w, l.releaseAtEnd) })
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

// newLWLock returns a lock that refuses calls after the end of view, and whose waits end with bytes; either may be
// nil. One whose bytes may end is enrolled for Disavow, which takes the roll's lock.
func newLWLock(view, bytes *shm.View, w *LWLockWord, self Self, more []Slot) *LWLock {
	l := &LWLock{
		word: w, self: self.Peer.Word(), view: endsWith(view), bytes: bytes, me: self, more: more, room: make(chan struct{}, 1),
	}
	if l.quick, l.over = l.view.v, bytes; self.Checked {
		l.quick, l.over = nil, ended
	}
	l.one = onebit.Word(l.self) + oneTime
	mine := preferredSlot(self.Row, l.slots())
	l.mine, l.first, l.read = int32(mine), l.slot(mine), readerIn(mine)
	if bytes != nil {
		enrollLock(l)
	}
	return l
}

// Lock waits for exclusive use until ctx is over; the error then is the cause of ctx and names the sessions that hold
// the lock. A holder that died makes no process wait longer than it takes to find that out; if it held exclusively,
// the guard is Abandoned. A poisoned lock is ErrNotRecoverable.
//
// The fast path swaps the state from what this process left there last. It succeeds if no other process has used the
// lock exclusively since, no flag is set and no process may read. From the swap on the lock is held: a process that
// dies after it leaves its own name without mayRead, and the next process that finds it dead takes the lock over,
// abandoned, although nothing was changed yet. Held is stored before the second look at the view and before the
// question for scopes and doubts: see doubt.
func (l *LWLock) Lock(ctx context.Context) (Guard, error) {
	// Behind an atomic operation the processor loads nothing before that is done. So what the loads there need is loaded
	// here: each of them takes one load then, not two that wait for one another.
	v, word, st := l.quick, l.word, l.idle.Load()
	name := st | l.self
	switch { // its cases become branches at once; of conditions joined by || the compiler makes a bool first
	case v == nil, v.Ended(), !word.state.CompareAndSwap(st, name):
		return l.waitForLock(ctx, want{mode: exclusive})
	}
	failpoint.Hit("shmsync/lwlock/locked")
	ordered.Store64(&l.held, name)
	switch {
	case v.Ended(), !scope.Quiet():
		return l.guardOrWait(ctx, name)
	}
	race.Acquire(&word.state)
	race.Acquire(&word.asleep)
	return Guard{l, st}, nil
}

// guardOrWait goes on with Lock after its swap has made the state name: it returns the guard, or waits for the lock as
// any other call if the hold is none.
func (l *LWLock) guardOrWait(ctx context.Context, name uint64) (Guard, error) {
	if g, err := l.exclusiveGuard(name); err == nil {
		return g, nil
	}
	return l.waitForLock(ctx, want{mode: exclusive})
}

// Recover is Lock for a caller that can repair all that the lock guards: it takes a poisoned lock, too, and then
// the guard is Abandoned. It waits as Lock does. A lock that is not poisoned it takes as Lock would.
func (l *LWLock) Recover(ctx context.Context) (Guard, error) {
	return l.waitForLock(ctx, want{mode: exclusive, repair: true})
}

// RLock waits for shared use until ctx is over, as Lock does. If the guard is Abandoned it is exclusive, so
// that the caller can repair. If every slot is in use by a living process it waits until one is free.
//
// The slot is stored before the state is loaded, for the reason given at LWLockWord. The reader is in if it finds no
// owner and mayRead set, or sets mayRead itself; the swap that does so also proves that no owner came in between. A
// process that dies with its slot stored, in or not, is subtracted by the process that its slot keeps waiting.
func (l *LWLock) RLock(ctx context.Context) (Guard, error) {
	// As in Lock; and w is loaded before the look at the view, as the end of a view expects: see enterSlot.
	v, word, s, w := l.quick, l.word, l.first, l.vacant.Load()
	if v == nil {
		return l.waitForLock(ctx, want{mode: shared})
	}
	if v.Ended() || !s.w.CompareAndSwap(w, w+l.one) {
		if !l.enterSlot(s) {
			return l.waitForLock(ctx, want{mode: shared})
		}
	}
	failpoint.Hit("shmsync/lwlock/entered")
	st := word.state.Load()
	if st&^holds != mayRead && (st&^holds != 0 || !word.state.CompareAndSwap(st, st|mayRead)) {
		l.leaveSlot(s)
		return l.waitForLock(ctx, want{mode: shared})
	}
	failpoint.Hit("shmsync/lwlock/reading")
	if v.Ended() || !scope.Quiet() {
		return l.readerGuard(int(l.mine))
	}
	race.Acquire(&word.state)
	return Guard{l, l.read}, nil
}

// TryLock is Lock without waiting; it asks whether those in the way are alive. It fails too if a reader is just
// about to find the lock taken. It returns false without an error if the lock is held by a living session.
func (l *LWLock) TryLock() (g Guard, ok bool, err error) {
	st := l.idle.Load()
	if v := l.quick; v != nil && !v.Ended() && l.word.state.CompareAndSwap(st, st|l.self) {
		failpoint.Hit("shmsync/lwlock/tried")
		if g, err := l.exclusiveGuard(st | l.self); err == nil {
			return g, true, nil
		}
	}
	return l.tryLock(exclusive)
}

// TryRLock is RLock without waiting; it asks whether the one in the way is alive. It also returns false without an
// error if every slot is in use.
func (l *LWLock) TryRLock() (g Guard, ok bool, err error) { return l.tryLock(shared) }

// ownedBySelf reports whether a state names this session as the owner, in or about to be.
func (l *LWLock) ownedBySelf(state uint64) bool { return state&peerMask == l.self }

// Bar keeps every call of this process from taking the lock from now on. It is called after the end of the view that the
// lock was made within, and gives nothing back: a call that has just taken the lock, or is inside, holds it for a moment
// more.
func (l *LWLock) Bar() {
	if l.word == nil {
		return
	}
	endAtFault(func() { l.barCalls(false) })
	l.wakeAll()
}

// Mine reports whether this session has the lock, exclusively or shared, also after the end of the view. It is false if
// the bytes are gone.
func (l *LWLock) Mine() (mine bool) {
	if l.word == nil {
		return false
	}
	endAtFault(func() {
		mine = l.ownedBySelf(l.word.state.Load())
		for i := 0; i < l.slots() && !mine; i++ {
			r := readerOf(l.slot(i).w.Load())
			mine = r.peer == l.self && r.times > 0
		}
	})
	return mine
}
