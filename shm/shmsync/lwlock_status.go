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

// Status returns the sessions that hold the lock and wait for it. It takes and changes nothing, does not block, and
// asks about each session whether it lives. After the end of the view it is empty. At most 13 that wait are listed.
func (l *LWLock) Status() (s Status) {
	if l.view.Ended() {
		return s
	}
	l.me.carefully(l.bytes, func() { s = l.status() })
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
