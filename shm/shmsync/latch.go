package shmsync

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/futex"
	"github.com/godsm/godsm/internal/race"
	"github.com/godsm/godsm/internal/spin"
)

// LatchWord is what of a Latch lies in shared memory. Its zero value is not set and owned by nobody. It is 16 bytes.
//
//	owner  the session that may wait
//	state  bit 0 set, bit 1 somebody may be asleep. Futex
type LatchWord struct {
	_     structs.HostLayout
	owner Slot
	state atomic.Uint32
	_     [4]byte
}

const (
	latchSet   = 1
	latchSleep = 2
)

// Latch is a flag that its owner waits for and that anybody sets, as one process sees it. It says that
// there may be news, not what: the owner looks at everything it waits for, in one of these two orders, and
// never between Wait and Reset.
//
//	for { l.Reset(); if done() { break }; l.Wait(ctx) }
//	for { if done() { break }; l.Wait(ctx); l.Reset() }
//
// What is announced must have been stored atomically, or under a lock, before Set. Setting is not counted. The
// methods are safe for concurrent use; all goroutines of the owner that wait are woken.
type Latch struct {
	word  *LatchWord
	me    Self
	self  uint64
	spins spin.Budget
}

// NewLatch returns the latch on w, as self sees it: to own and wait for, or just to set.
func NewLatch(w *LatchWord, self Self) *Latch {
	return &Latch{word: w, me: self, self: self.Peer.Word()}
}

// Own makes this session the one that may wait. It is ErrOwned if a living session is, this one too; a
// dead one's place is taken.
func (l *Latch) Own() error {
	for {
		w := l.word.owner.w.Load()
		if w != 0 && (w == l.self || l.me.alive(w)) {
			return fmt.Errorf("a latch has one owner, and this one's is %v: %w", PeerOf(w), ErrOwned)
		}
		if l.word.owner.w.CompareAndSwap(w, l.self) {
			failpoint.Hit("shmsync/latch/owned")
			return nil
		}
	}
}

// Disown gives the ownership up. The latch stays set or not set.
func (l *Latch) Disown() { l.word.owner.w.CompareAndSwap(l.self, 0) }

// Owner says who may wait now.
func (l *Latch) Owner() (Peer, bool) {
	w := l.word.owner.w.Load()
	return PeerOf(w), w != 0
}

// Set sets the latch and wakes its owner. It costs one look if the latch is set already, and a system call
// only if the owner is asleep.
func (l *Latch) Set() {
	race.Release(&l.word.state)
	if w := &l.word.state; w.Load()&latchSet == 0 && w.Swap(latchSet)&latchSleep != 0 {
		failpoint.Hit("shmsync/latch/set")
		futex.Wake(w, all)
	}
}

// Reset is for the owner, who looks at what it waits for afterwards.
func (l *Latch) Reset() { l.word.state.And(^uint32(latchSet)) }

// IsSet says whether the latch is set now.
func (l *Latch) IsSet() bool {
	if l.word.state.Load()&latchSet == 0 {
		return false
	}
	race.Acquire(&l.word.state)
	return true
}

// Wait waits until the latch is set, which it leaves so. It ends too when ctx is over, with its cause, and when
// one of the peers is dead, with a *PeerDiedError, at most some 10 ms later. A latch that is set wins over both.
func (l *Latch) Wait(ctx context.Context, peers ...Peer) error {
	_, err := waitLatches(ctx, []*Latch{l}, peers)
	return err
}

// WaitAny is Wait for several latches of one session; it says which one is set, the first of them.
func WaitAny(ctx context.Context, latches []*Latch, peers ...Peer) (int, error) {
	return waitLatches(ctx, latches, peers)
}

// maxSleep bounds a sleep in which no peer is to be asked for: whoever set the latch may have died before it woke us.
const maxSleep = 100 * time.Millisecond

func waitLatches(ctx context.Context, latches []*Latch, peers []Peer) (int, error) {
	first := -1
	isSet := func() bool {
		for i, l := range latches {
			if l.IsSet() {
				first = i
				return true
			}
		}
		return false
	}
	if isSet() {
		return first, nil
	}
	if len(latches) == 0 {
		return -1, errors.New("no latch to wait for")
	}
	for _, l := range latches {
		if w := l.word.owner.w.Load(); w != l.self {
			return -1, fmt.Errorf("only its owner waits for a latch: %w", ErrNotOwner)
		}
	}
	if latches[0].spins.Until(isSet) {
		return first, nil
	}
	longest := maxSleep
	if len(peers) > 0 {
		longest = maxAsk
	}
	words := make([]futex.Word, len(latches))
	for patience := minPatience; ; patience = min(2*patience, longest) {
		for i, l := range latches {
			l.word.state.CompareAndSwap(0, latchSleep)
			words[i] = futex.Word{W: &l.word.state, Val: latchSleep}
		}
		failpoint.Hit("shmsync/latch/asleep")
		if isSet() {
			return first, nil
		}
		if ctx.Err() != nil {
			return -1, context.Cause(ctx)
		}
		futex.WaitAny(ctx, within(ctx, patience), words...)
		failpoint.Hit("shmsync/latch/woken")
		if isSet() {
			return first, nil
		}
		dead := find(peers, func(p Peer) bool { return !latches[0].me.Alive(p) })
		if isSet() {
			return first, nil
		}
		if dead >= 0 {
			return -1, &PeerDiedError{peers[dead]}
		}
	}
}

func find(peers []Peer, f func(Peer) bool) int {
	for i, p := range peers {
		if f(p) {
			return i
		}
	}
	return -1
}
