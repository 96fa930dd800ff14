package shmsync

// Status is which sessions hold a lock and wait for it, as seen by a process that only looks: each line was true at some
// moment of the look, and all of them together perhaps at none. The dead are left out.
type Status struct {
	Exclusive []Peer // at most one; beside Shared, it is waiting for those to leave
	Shared    []Peer
	Waiting   []Waiter
	Poisoned  bool
}

// Waiter is a process that waits for a lock.
type Waiter struct {
	Peer
	Shared bool
}

// Status returns the sessions that hold the lock and wait for it. It takes and changes nothing, does not block, and asks about
// each session whether it lives. After the end of the view it is empty. At most 13 that wait are listed.
func (l *LWLock) Status() (s Status) {
	if l.view.Ended() {
		return s
	}
	l.me.carefully(func() { s = l.status() })
	if l.view.Ended() {
		return Status{}
	}
	return s
}

// status does what Status does for a view that may end while it runs.
func (l *LWLock) status() (s Status) {
	st := l.word.state.Load()
	s.Poisoned = st&poisoned != 0
	if st&peerMask != 0 && l.me.alive(st) {
		s.Exclusive = []Peer{PeerOf(st)}
	}
	for i := range l.slots() {
		if r := readerOf(l.slot(i).w.Load()); r.peer != 0 && l.me.alive(r.peer) {
			s.Shared = append(s.Shared, PeerOf(r.peer))
		}
	}
	for i := range l.word.waiters {
		if w := l.word.waiters[i].w.Load(); w != 0 && l.me.alive(w) {
			s.Waiting = append(s.Waiting, Waiter{PeerOf(w), w&unit != 0})
		}
	}
	return s
}

// enlist writes this process among the waiters, in the place of a dead session if there is no other, and returns the
// entry; nil if every place is a living waiter's. The list is for people, and no wake-up depends on it.
func (l *LWLock) enlist(m mode) *Slot {
	entry := l.self | uint64(m)*unit
	for i := range l.word.waiters {
		if s := &l.word.waiters[i]; s.w.CompareAndSwap(0, entry) {
			return s
		}
	}
	for i := range l.word.waiters {
		s := &l.word.waiters[i]
		if w := s.w.Load(); !l.me.alive(w) && s.w.CompareAndSwap(w, entry) {
			return s
		}
	}
	return nil
}

// delist takes this process's entry back; s may be nil. After the end of the bytes' view they may be gone, which is no fault
// then: the entry goes with them, or as that of a dead session.
func (l *LWLock) delist(s *Slot) {
	if s == nil {
		return
	}
	if l.bytes.Ended() {
		contained(func() { l.delistNow(s) })
		return
	}
	l.delistNow(s)
}

// delistNow takes the entry s back; a fault is the caller's. An entry that a stray store has given to another session stays.
func (l *LWLock) delistNow(s *Slot) {
	if w := s.w.Load(); w&peerMask == l.self {
		s.w.CompareAndSwap(w, 0)
	}
}
