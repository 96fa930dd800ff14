package shmsync

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/internal/waits"
)

// LatchWord is what of a Latch lies in shared memory. Its zero value is not set and owned by no process. It is 16 bytes.
//
//	field  stored by                         meaning
//	owner  the session that comes to own it  onebit word of the session that may wait, in bits 0-42; the bits above go
//	       or gives it up                    up when the end of a view takes the ownership away
//	state  any process sets, its owner       bits 0, 2 and 3 set, of which two count if a stray store has hit one; bit 1
//	       resets and says that it sleeps    a process may be asleep. Futex
//
// Both are loaded by any process at any time. An owner that is read late is one that owned the latch a moment ago; it
// decides about who may wait, never about whether a Set arrives. A state that is read late costs a wake-up too many.
//
// What a death leaves: an owner that is dead, whose place the next Own takes; and bit 1, for which the next Set makes a
// system call for nothing. A process that dies between its store of the state and the wake-up leaves an owner that
// sleeps beside a latch that is set. The owner finds that when it looks next: once it hears of the death, and at least
// once a second.
type LatchWord struct {
	_     structs.HostLayout
	owner Slot
	state atomic.Uint32
	_     [4]byte
}

// The states that are stored: 0, latchSet or latchSleep. One that sets clears latchSleep with the same swap, and a latch
// that is set is never slept on, so there is no state with both.
const (
	latchSet   = 1<<0 | 1<<2 | 1<<3
	latchSleep = 1 << 1
)

// latchIsSet reports whether a state is one of a latch that is set, also if one bit of it is wrong.
func latchIsSet(state uint32) bool {
	s := state & latchSet
	return s&(s-1) != 0
}

// Latch is a flag that its owner waits for and that any process sets, as one process sees it. It says that
// there may be news, not what: the owner looks at everything it waits for, in one of these two orders, and
// never between Wait and Reset.
//
//	for { l.Reset(); if done() { break }; l.Wait(ctx) }
//	for { if done() { break }; l.Wait(ctx); l.Reset() }
//
// What is announced must have been stored atomically, or under a lock, before Set. Setting is not counted. The
// methods are safe for concurrent use; all goroutines of the owner that wait are woken.
//
// After the end of the session, or of the view that the word lies in, a latch is not set and owned by no session, what
// changes it does nothing, and waits end with ErrClosed. If the word's segment is detached in a session that goes on,
// its ownership is given back. A segment that another program truncates ends the process in Set, Reset and IsSet, unless
// they are called inside Session.Contain of package dsm.
type Latch struct {
	word  *LatchWord
	me    Self
	self  uint64      // me.Peer as a word
	view  ends        // of the word and of the session
	spins spin.Budget // of the goroutines that wait for this latch first
}

// NewLatch returns the latch on w, as self sees it: to own and wait for, or just to set. Calls with the same arguments
// return the same Latch where w lies in a segment.
func NewLatch(w *LatchWord, self Self) *Latch {
	v := viewOf(w, self)
	make := func() *Latch { return &Latch{word: w, me: self, self: self.Peer.Word(), view: endsWith(v)} }
	if v == nil {
		return make()
	}
	type key struct {
		word *LatchWord
		peer Peer
	}
	return madeOnce(v, key{w, self.Peer}, make, func(l *Latch) { v.OnEnd(l.wakeAll); onBytesEnd(w, l.disownAtEnd) })
}

// disownAtEnd gives the ownership up at the end of the view, before the bytes go, if this session has it. An Own that
// is under way may have loaded the word before the end. So the word is changed in any case, in the bits that count
// ends, and the swap of that Own fails. Then those that wait are woken; they find the end.
func (l *Latch) disownAtEnd() {
	endAtFault(func() {
		for o := &l.word.owner.w; ; {
			w := o.Load()
			n := (onebit.Of(w) + oneEnd) % (1 << 56) // of the ends the upper bits may be lost
			if n&peerMask == l.self {
				n &^= peerMask
			}
			if o.CompareAndSwap(w, onebit.Word(n)) {
				break
			}
		}
	})
	l.wakeAll() // those that are about to sleep don't
}

// oneEnd is one in the ends that an owner's word counts, above the bits of the peer.
const oneEnd = 1 << 43

// Own makes this session the latch's owner, the only one that may wait for it. Own returns ErrOwned if the latch has an
// owner that is alive, also if that is this session; it takes the place of an owner that is dead. It does not block. A
// latch that was set before stays set.
//
// Own asks twice whether the view has ended. The second time is after the load of the word and before the swap; and the
// end of the view changes the word, so the swap fails if the view ends in between. So no session owns a latch after the
// end of its view.
func (l *Latch) Own() (err error) {
	defer errOfView(&err, l.view.v)
	defer fault.Return(&err, fault.Catch())
	for {
		if l.view.Ended() {
			return l.view.Err()
		}
		w := l.word.owner.w.Load()
		n := onebit.Of(w)
		switch p := n & peerMask; {
		case l.view.Ended():
			return l.view.Err()
		case p != 0 && (p == l.self || l.me.alive(p)):
			return l.view.Answer(fmt.Errorf("owning the latch: %s has it until its Disown: %w", l.me.Name(PeerOf(p)), ErrOwned))
		}
		if l.word.owner.w.CompareAndSwap(w, onebit.Word(n&^peerMask|l.self)) {
			failpoint.Hit("shmsync/latch/owned")
			return l.view.Err()
		}
	}
}

// Disown gives the ownership up. The latch stays set or not set. It does nothing if this session is not the owner. A
// goroutine of this session that waits goes on waiting, and is woken by a Set; another session's Own may then succeed,
// and each Set wakes both.
func (l *Latch) Disown() {
	l.me.carefully(l.view, func() {
		for !l.view.Ended() {
			w := l.word.owner.w.Load()
			n := onebit.Of(w)
			if n&peerMask != l.self || l.word.owner.w.CompareAndSwap(w, onebit.Word(n&^peerMask)) {
				return
			}
		}
	})
}

// Owner returns the session that may wait now, and whether there is one; it may be dead. It asks no process and changes
// nothing.
func (l *Latch) Owner() (Peer, bool) {
	if l.view.Ended() {
		return Peer{Row: -1}, false
	}
	var n uint64
	l.me.carefully(l.view, func() { n = onebit.Of(l.word.owner.w.Load()) })
	return PeerOf(n), n&peerMask != 0
}

// Set sets the latch and wakes its owner. It costs one look if the latch is set already, and a system call
// only if the owner is asleep. It does not block, and any process may call it, owner or not.
//
// The swap stores that the latch is set and takes the mark that a process sleeps in one step: of several that set it at
// once one makes the system call.
func (l *Latch) Set() {
	if !l.view.Ended() {
		l.me.carefully(l.view, l.set)
	}
}

// set does what Set does for a view that may end while it runs.
func (l *Latch) set() {
	race.Release(&l.word.state)
	if w := &l.word.state; w.Load()&latchSet != latchSet && w.Swap(latchSet)&latchSleep != 0 {
		failpoint.Hit("shmsync/latch/set")
		wake(w)
	}
}

// Reset clears the latch. Only the owner calls it, and looks at what it waits for afterwards: a Set that comes before
// the Reset is lost, but what it announced is visible to that look.
func (l *Latch) Reset() {
	if !l.view.Ended() {
		l.me.carefully(l.view, func() { l.word.state.And(^uint32(latchSet)) })
	}
}

// IsSet reports whether the latch is set now. If it is, what was stored before the Set is visible to the caller.
func (l *Latch) IsSet() bool {
	if l.view.Ended() || !latchIsSet(l.state()) {
		return false
	}
	race.Acquire(&l.word.state)
	return true
}

// state returns the word; 0 if the bytes have ended.
func (l *Latch) state() (w uint32) {
	if !l.me.Checked {
		return l.word.state.Load()
	}
	endAtLateFault(l.view, func() { w = l.word.state.Load() })
	return w
}

// Wait waits until the latch is set, which it leaves so. It ends too when ctx is over, with its cause, and when
// one of the peers is dead, with a *PeerDiedError, some milliseconds later. A latch that is set wins over both. It is
// ErrNotOwner if this session does not own the latch when the wait begins.
func (l *Latch) Wait(ctx context.Context, peers ...Peer) error {
	if l.IsSet() {
		return nil
	}
	_, err := waitLatches(ctx, []*Latch{l}, peers)
	errOfView(&err, l.view.v)
	return err
}

// WaitAny is Wait for several latches of one session; it returns the index of the one that is set, the first of them, and
// -1 with an error. Without latches it is an error.
func WaitAny(ctx context.Context, latches []*Latch, peers ...Peer) (int, error) {
	set, err := waitLatches(ctx, latches, peers)
	for _, l := range latches {
		errOfView(&err, l.view.v)
	}
	return set, err
}

// waitLatches waits as WaitAny does. A fault is its error; the caller makes it the view's if a view has ended (late).
//
// The mark that a process sleeps is stored before the last look at the latches, by each turn of the loop, and Set stores
// before it looks at the mark. So either the look finds the latch set, or Set finds the mark and changes the word that
// this goroutine sleeps on. A peer's death is looked for after each sleep, and the latches once more after that: what a
// peer has set before it died counts as set.
func waitLatches(ctx context.Context, latches []*Latch, peers []Peer) (set int, err error) {
	defer fault.Return(&err, fault.Catch())
	first := -1
	anySet := func() bool {
		for i, l := range latches {
			if l.view.Ended() {
				first = -1
				return true
			}
			if l.IsSet() {
				first = i
				return true
			}
		}
		return false
	}
	// answer returns what anySet has found.
	answer := func() (int, error) {
		if first >= 0 {
			return first, nil
		}
		for _, l := range latches {
			if l.view.Ended() {
				return -1, l.view.Err()
			}
		}
		return -1, ErrClosed
	}
	if anySet() {
		return answer()
	}
	if len(latches) == 0 {
		return -1, errors.New("waiting for latches: none was given")
	}
	for _, l := range latches {
		if n := onebit.Of(l.word.owner.w.Load()); n&peerMask != l.self {
			return -1, l.view.Answer(fmt.Errorf("waiting for a latch: this session has to call Own first: %w", ErrNotOwner))
		}
	}
	if latches[0].spins.Until(anySet) {
		return answer()
	}
	wait := waits.Wait{Waits: latches[0].me.Waits}
	defer wait.End()
	words := make([]futex.Word, len(latches))
	for {
		for i, l := range latches {
			l.markSleeper()
			words[i] = futex.Word{W: &l.word.state, Val: latchSleep}
		}
		failpoint.Hit("shmsync/latch/asleep")
		if anySet() {
			return answer()
		}
		if ctx.Err() != nil {
			if len(peers) > 0 {
				return -1, fmt.Errorf("the latch was not set by %s: %w", latches[0].me.sessionNames(peers), context.Cause(ctx))
			}
			return -1, context.Cause(ctx)
		}
		wait.Sleep(ctx, func(ctx context.Context, d time.Duration) { futex.WaitAny(ctx, d, words...) }, wordsOf(peers)...)
		failpoint.Hit("shmsync/latch/woken")
		if anySet() {
			return answer()
		}
		dead := indexOfPeer(peers, func(p Peer) bool { return !latches[0].me.Alive(p) })
		if anySet() {
			return answer()
		}
		if dead >= 0 {
			return -1, &PeerDiedError{peers[dead]}
		}
	}
}

// markSleeper stores in the state of a latch that is not set that a process may be asleep. What else is in it is of a
// stray store, and goes. It does nothing to a latch that is set, which the caller's next look finds.
func (l *Latch) markSleeper() {
	for {
		w := l.word.state.Load()
		if w == latchSleep || latchIsSet(w) || l.word.state.CompareAndSwap(w, latchSleep) {
			return
		}
	}
}

// wakeAll wakes those that wait, so that they look at the view. It clears the mark of a sleeper first: a goroutine
// that has stored the mark and is about to sleep finds the word changed.
func (l *Latch) wakeAll() {
	endAtFault(func() {
		l.word.state.And(^uint32(latchSleep))
		wake(&l.word.state)
	})
}
