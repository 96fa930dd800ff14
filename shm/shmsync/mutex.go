package shmsync

import (
	"context"
	"math/bits"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
)

// MutexIncarnationMask is what a Mutex keeps of an incarnation.
const MutexIncarnationMask = 1<<20 - 1

// MutexWord is what of a Mutex lies in shared memory. Its zero value is unlocked. It is 4 bytes:
//
//	bit 31      a process may be waiting
//	bits 20-30  the holder's row plus one; 0 in all if the lock is free
//	bits 0-19   the holder's incarnation
//
// Every process may swap it, and those that wait sleep on it. The holder's name is all that the lock knows: a process
// that dies at any instruction leaves either a word that does not name it, or one that does, and the next process that
// waits takes the lock over from it. Of an incarnation 20 bits are kept: the dead holder is taken for a living one if
// exactly a multiple of 2^20 sessions have had its row since, and that last one lives.
type MutexWord struct {
	_ structs.HostLayout
	w atomic.Uint32
}

// waiting is bit 31 of a MutexWord. The process that unlocks takes it with the holder's name, and wakes one sleeper;
// that one sets it again, for those that may sleep on.
const waiting = 1 << 31

// Owner returns the session that holds the lock now, with 20 bits of its incarnation, and whether there is one. It is
// for processes that only look. A garbled word may name no process, or one that does not exist; the holder may be
// dead.
func (w *MutexWord) Owner() (Peer, bool) {
	h := ownerOfWord(w.w.Load() &^ waiting)
	return h, h.Row >= 0
}

// Mutex is an exclusive lock on a MutexWord, as one process sees it. All goroutines that act for one Peer
// share one Mutex: each enters a local lock, the gate, before it touches the shared word, so that a process waits with
// one thread and the race detector sees the edges. If the word's bytes are gone, the fault comes out of any method,
// and leaves nothing locked in this process.
//
// It promises no order among those that wait. That a lock was taken over from a dead holder is in the guard alone, not
// in the word as with a LWLock: a process that takes it over repairs before it unlocks, and if it dies of that, the
// next one takes the lock over from it and repairs too.
//
// After the end of the session, or of the view that the word lies in, TryLock fails and Lock is ErrClosed. If the word's
// segment is detached in a session that goes on, what this Mutex holds is given back, as by a holder that died.
type Mutex struct {
	word  *atomic.Uint32
	self  uint32          // this session as a word has it
	alive func(Peer) bool // of a row that there can be
	view  ends            // of the word and of the session
	bare  bool            // its calls need no fault scope: bytes that have ended are not made inaccessible (Self.Checked)
	local gate            // entered before the word is taken, left after it was given back

	suspect bool // Disavow has seen the word name this process wrongly; under the roll's lock

	// Of holds inside Session.Contain, which have numbers: the last one's, and that of the present one, 0 if there is
	// none.
	turns, turn atomic.Uint32
}

// NewMutex returns the lock on w, for use by self. Calls with the same arguments return the same Mutex where w lies in a
// segment. It reads no shared memory.
func NewMutex(w *MutexWord, self Self) *Mutex {
	v := viewOf(w, self)
	make := func() *Mutex {
		alive := func(p Peer) bool { return p.Row >= 0 && p.Row < MaxRows && self.Alive(p) }
		return &Mutex{word: &w.w, self: ownerWord(self.Peer), alive: alive, view: endsWith(v), bare: !self.Checked || v == nil,
			local: newGate()}
	}
	if v == nil {
		return make()
	}
	type key struct {
		word *MutexWord
		peer Peer
	}
	return madeOnce(v, key{w, self.Peer}, make, func(m *Mutex) {
		onBytesEnd(w, m.releaseAtEnd)
		roll.Lock()
		defer roll.Unlock()
		roll.mutexes.addLockLocked(m, func(m *Mutex) bool { return m.view.Ended() })
	})
}

// disavowLocked gives the lock back if its word names this session though no goroutine holds it, twice in a row. Each
// hold of this process has the gate: if that can be entered and the word names the session, the word is wrong. It
// waits for nothing. The caller holds the lock of roll.
func (m *Mutex) disavowLocked() {
	before := m.suspect
	m.suspect = false
	if m.word.Load()&^waiting != m.self || m.view.Ended() || !m.local.tryEnter() {
		return
	}
	defer m.local.leave()
	switch {
	case m.word.Load()&^waiting != m.self:
	case before:
		m.releaseAtEnd()
	default:
		m.suspect = true
	}
}

// releaseAtEnd puts a holder that cannot exist into the word, if this session is in it, and wakes those that wait: the
// next one takes the lock over as from a dead holder. It runs at the end of the view, before the bytes go, and after a
// fault.
func (m *Mutex) releaseAtEnd() {
	endAtFault(func() {
		for {
			w := m.word.Load()
			if w&^waiting != m.self || m.word.CompareAndSwap(w, w&waiting|ownerGone) {
				break
			}
		}
		wake(m.word)
	})
}

// ownerGone is a word whose holder has a row that no session has.
const ownerGone = (1<<11 - 1) << 20

// MutexGuard is the right to unlock, once, in any goroutine.
type MutexGuard struct {
	m     *Mutex
	owner uint32 // the dead session it was taken over from; 0 if there was none
	turn  uint32 // the hold's number inside Session.Contain, else 0
}

// began returns the guard of a hold that has just begun. The caller is in the gate.
func (g MutexGuard) began() MutexGuard {
	if !scope.Quiet() {
		return g.noteInScope()
	}
	return g
}

// noteInScope tells the scope that the calling goroutine is in of g.
func (g MutexGuard) noteInScope() MutexGuard {
	if s := scope.Current(); s != nil {
		g.turn = max(g.m.turns.Add(1), 1)
		g.m.turn.Store(g.turn)
		s.Add(scopedMutex{g})
	}
	return g
}

// endHold ends the guard's hold, and reports whether it had not ended before; of one outside of a scope that is not
// known.
func (g MutexGuard) endHold() bool { return g.turn == 0 || g.m.turn.CompareAndSwap(g.turn, 0) }

// scopedMutex is a guard that was taken inside a Session.Contain.
type scopedMutex struct{ g MutexGuard }

// Over reports whether the guard has been unlocked.
func (h scopedMutex) Over() bool { return h.g.m.turn.Load() != h.g.turn }

// Abandon gives the lock back, for a goroutine that a fault has kept from it, as by a holder that died. It does
// nothing if the guard has been unlocked.
func (h scopedMutex) Abandon() {
	if h.g.endHold() {
		defer h.g.m.local.leave()
		h.g.m.releaseAtEnd()
	}
}

// Abandoned reports whether the lock was taken over from a holder that died with it, and from whom. What the lock
// guards may then be half-written.
func (g MutexGuard) Abandoned() (Peer, bool) { return ownerOfWord(g.owner), g.owner != 0 }

// TryLock takes the lock if it is free now, and reports whether it has. It does not wait, and does not ask whether the
// holder lives: it fails while the word names a dead session.
func (m *Mutex) TryLock() (g MutexGuard, ok bool) {
	if m.bare {
		return m.tryLock()
	}
	endAtLateFault(m.view, func() { g, ok = m.tryLock() })
	return g, ok
}

// tryLock does what TryLock does for a view that may end while it runs.
func (m *Mutex) tryLock() (g MutexGuard, ok bool) {
	if !m.local.tryEnter() {
		return MutexGuard{}, false
	}
	defer m.leaveGateUnless(&ok)
	if !m.view.Ended() {
		if w := m.word.Load(); w&^waiting == 0 { // with waiting, if a stray store has set it
			ok = m.word.CompareAndSwap(w, w|m.self)
		}
	}
	failpoint.Hit("shmsync/mutex/taken")
	if ok = ok && !m.releaseIfLate(); !ok {
		return MutexGuard{}, false
	}
	return MutexGuard{m: m}.began(), true
}

// Lock waits for the lock until ctx is over, whose cause it returns then. A holder that died never makes it wait
// longer than it takes to find that out: it asks after a millisecond, then more rarely, up to every 50 ms.
func (m *Mutex) Lock(ctx context.Context) (MutexGuard, error) {
	return m.lockAfter(ctx, time.Millisecond)
}

// LockOwnerDead is Lock for a caller that has reason to think the holder dead: it asks at once.
func (m *Mutex) LockOwnerDead(ctx context.Context) (MutexGuard, error) { return m.lockAfter(ctx, 0) }

// lockAfter enters the gate, then takes the word; it asks about a holder after patience. The gate is left again if the
// lock is not the caller's in the end, also by a fault. A lock that was taken after the end of the view is given back.
func (m *Mutex) lockAfter(ctx context.Context, patience time.Duration) (g MutexGuard, err error) {
	if !m.local.enter(ctx, m.view.v) {
		return MutexGuard{}, m.view.Answer(context.Cause(ctx))
	}
	ok := false
	defer m.leaveGateUnless(&ok)
	if !m.bare {
		defer errOfView(&err, m.view.v)
		defer fault.Return(&err, fault.Catch())
	}
	if m.view.Ended() {
		return g, m.view.Err()
	}
	if !m.word.CompareAndSwap(0, m.self) {
		g, err = m.waitForWord(ctx, patience)
	} else {
		g.m = m
	}
	if err == nil && m.releaseIfLate() {
		err = m.view.Err()
	}
	if ok = err == nil; !ok {
		return MutexGuard{}, err
	}
	return g.began(), nil
}

// releaseIfLate reports whether the lock was taken after the end of the view, and gives it back.
func (m *Mutex) releaseIfLate() bool {
	if !m.view.Ended() {
		return false
	}
	m.releaseAtEnd()
	return true
}

// leaveGateUnless leaves the gate if ok is false. It is deferred, so that a fault leaves it too.
func (m *Mutex) leaveGateUnless(ok *bool) {
	if !*ok {
		m.local.leave()
	}
}

// maxPatience is the longest sleep before a holder is asked for again.
const maxPatience = 50 * time.Millisecond

// waitForWord takes the word, for the one goroutine of this process that is in the gate. In each round it sets the
// waiting bit, sleeps while the word is as it has left it, and asks whether the holder lives if the word still is. A
// holder that unlocks swaps the word before it wakes: the sleeper finds another word, also if the holder dies before
// the wake-up, since no sleep is longer than maxPatience. Patience begins anew with each other holder.
//
// A dead holder is replaced by a swap from the word that names it: of several processes one succeeds.
func (m *Mutex) waitForWord(ctx context.Context, patience time.Duration) (MutexGuard, error) {
	for last, asked := uint32(0), patience; ; {
		w := m.word.Load()
		owner := w &^ waiting
		if m.view.Ended() {
			return MutexGuard{}, m.view.Err()
		}
		if owner == 0 {
			// Others may be asleep behind the bit that the last holder took away with it.
			if m.word.CompareAndSwap(w, m.self|waiting) {
				failpoint.Hit("shmsync/mutex/inherited")
				return MutexGuard{m: m}, nil
			}
			continue
		}
		if w&waiting == 0 && !m.word.CompareAndSwap(w, w|waiting) {
			continue
		}
		failpoint.Hit("shmsync/mutex/waiting")
		if owner != last {
			last, asked = owner, patience
		}
		if ctx.Err() != nil {
			return MutexGuard{}, m.view.Answer(context.Cause(ctx))
		}
		if asked > 0 && owner != m.self { // this process waits here, so it does not hold it: the word was garbled
			futex.Wait(m.word, owner|waiting, asked)
			failpoint.Hit("shmsync/mutex/woken")
			if m.word.Load() != owner|waiting {
				continue
			}
		}
		if (owner == m.self || !m.alive(ownerOfWord(owner))) && m.word.CompareAndSwap(owner|waiting, m.self|waiting) {
			failpoint.Hit("shmsync/mutex/stolen")
			return MutexGuard{m: m, owner: owner}, nil
		}
		asked = min(max(2*asked, time.Millisecond), maxPatience)
	}
}

// Unlock gives the lock back. A lock that was taken over meanwhile, since this holder was rightly found dead
// (its row is no longer its own), is left to its new holder. It does not block. A second Unlock is misuse; of a guard
// that was taken inside Session.Contain it does nothing.
func (g MutexGuard) Unlock() {
	m := g.m
	if m == nil || !g.endHold() {
		return
	}
	defer m.local.leave()
	if m.view.Ended() {
		endAtFault(m.unlock)
		return
	}
	if !m.bare {
		endAtLateFault(m.view, m.unlock)
		return
	}
	m.unlock()
}

// unlock gives the word back and then wakes one sleeper, where a fault is the caller's. The word is left alone if it
// names another session, unless that is this one's name with one wrong bit.
func (m *Mutex) unlock() {
	for {
		w := m.word.Load()
		if w&^waiting != m.self && !m.isStrayed(w) {
			return
		}
		if m.word.CompareAndSwap(w, 0) {
			failpoint.Hit("shmsync/mutex/unlocked")
			if w&waiting != 0 {
				futex.Wake(m.word, 1)
			}
			return
		}
	}
}

// isStrayed reports whether the word is that of a hold of this process, which has it, with one wrong bit in the
// holder. It can be true of a lock in a segment alone: that of a control segment has an owner that looks after it.
func (m *Mutex) isStrayed(w uint32) bool {
	return m.view.v != forever && !m.view.Ended() && bits.OnesCount32((w^m.self)&^waiting) == 1 && m.alive(ownerOfWord(m.self))
}

// ownerWord returns a peer as a MutexWord has it; decode undoes that, of 0 as a peer in row -1.
func ownerWord(h Peer) uint32 { return uint32(h.Row+1)<<20 | h.Incarnation&MutexIncarnationMask }

// ownerOfWord returns the holder that a MutexWord names. The caller has cleared the waiting bit.
func ownerOfWord(w uint32) Peer {
	return Peer{Row: int(w>>20) - 1, Incarnation: w & MutexIncarnationMask}
}
