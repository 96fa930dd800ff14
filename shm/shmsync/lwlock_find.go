package shmsync

import (
	"slices"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
)

// LockAt is a lock that FindLocks has found.
type LockAt struct {
	Offset shm.Offset // of its LWLockWord
	Status
}

// lwLockWords is the size of a LWLockWord, in words of 8 bytes.
const lwLockWords = 32

// FindLocks returns the locks in a region for which a session waits, in the order of their offsets, for a process that only
// looks: it knows neither the structures that lie there nor the sessions. Alive reports whether a session lives; FindLocks asks it for
// each word that may be one. It takes and stores nothing, and does not block. A region that another program truncates meanwhile is a fault.
//
// A LWLockWord has no mark. What is returned has an owner that lives, and either another entry of a living waiter or, where the owner waits
// for readers, a living reader; and each of its other fields has a value that it can have. Bytes that look so by chance are unlikely, and not impossible.
// Slots that a program has added to a lock (NewLWLock) lie elsewhere, and are not looked at.
func FindLocks(r shm.Region, alive func(Peer) bool) (list []LockAt, err error) {
	words, err := shm.SliceOf[atomic.Uint64](r, 0, r.Len()/8)
	if err != nil {
		return nil, err
	}
	for i := 0; i <= len(words)-lwLockWords; {
		owner := PeerOf(words[i].Load())
		if !canBe(owner) || !alive(owner) {
			i++
			continue
		}
		at := shm.Offset(i * 8)
		w, err := shm.At[LWLockWord](r, at)
		if err != nil {
			return list, err
		}
		s, ok := w.judge(alive)
		if !ok {
			i++
			continue
		}
		list = append(list, LockAt{at, s})
		i += lwLockWords
	}
	return list, nil
}

// judge returns who holds the lock and who waits for it, if these bytes are a lock for which a session waits.
func (w *LWLockWord) judge(alive func(Peer) bool) (s Status, ok bool) {
	state := w.state.Load()
	if w.asleep.Load() > 1 {
		return s, false
	}
	s.Poisoned = state&poisoned != 0
	for i := range w.readers {
		word := w.readers[i].w.Load()
		r := readerOf(word)
		switch {
		case r.word() != word || r.times > maxTimes || r.peer != 0 && !canBe(PeerOf(r.peer)):
			return s, false
		case r.peer != 0 && alive(PeerOf(r.peer)):
			s.Shared = append(s.Shared, PeerOf(r.peer))
		}
	}
	for i := range w.waiters {
		word := w.waiters[i].w.Load()
		switch p := PeerOf(word); {
		case word == 0:
		case word&^(peerMask|unit) != 0 || !canBe(p):
			return s, false
		case alive(p):
			s.Waiting = append(s.Waiting, Waiter{p, word&unit != 0})
		}
	}
	owner := PeerOf(state)
	if state&mayRead != 0 { // it waits for the readers
		s.Waiting = slices.DeleteFunc(s.Waiting, func(x Waiter) bool { return x.Peer == owner && !x.Shared })
		s.Waiting = append([]Waiter{{owner, false}}, s.Waiting...)
		return s, len(s.Shared) > 0
	}
	s.Exclusive = []Peer{owner}
	return s, len(s.Waiting) > 0
}

// canBe reports whether a session can have been that peer.
func canBe(p Peer) bool { return p.Row >= 0 && p.Row < MaxRows && p.Incarnation != 0 }
