package shmsync

// addWaiter writes this process among the waiters, in the place of a dead session if there is no other, and returns the
// entry; nil if every place is a living waiter's. The list is for people, and no wake-up depends on it.
func (l *LWLock) addWaiter(m mode) *Slot {
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

// removeWaiter takes this process's entry back; s may be nil. After the end of the bytes' view they may be gone, which is no fault
// then: the entry goes with them, or as that of a dead session.
func (l *LWLock) removeWaiter(s *Slot) {
	if s == nil {
		return
	}
	if l.bytes.Ended() {
		endAtFault(func() { l.removeWaiterEntry(s) })
		return
	}
	l.removeWaiterEntry(s)
}

// removeWaiterEntry takes the entry s back; a fault is the caller's. An entry that a stray store has given to another session stays.
func (l *LWLock) removeWaiterEntry(s *Slot) {
	if w := s.w.Load(); w&peerMask == l.self {
		s.w.CompareAndSwap(w, 0)
	}
}
