package control

import (
	"github.com/godsm/godsm/shm/shmsync"
)

// Alive reports whether p is a session of this instance that lives. It errs to true, for a moment after a death and
// where that can't be told, as when the books are gone. It takes no lock, but asks the witness, which may be a system
// call.
func (m *Member) Alive(p shmsync.Peer) (alive bool) {
	err := contained(func() error {
		alive = p.Row >= 0 && p.Row < len(m.t.processes) &&
			m.t.processes[p.Row].word.Load() == usedBy(p.Incarnation) && m.witness.Held(p.Row)
		return nil
	})
	return alive || err != nil
}

// Gone reports whether p is known to be no session any more: it has left, or has been reclaimed. It takes no lock, asks
// the system nothing, and errs to false.
func (m *Member) Gone(p shmsync.Peer) (gone bool) {
	_ = contained(func() error {
		gone = p.Row >= 0 && p.Row < len(m.t.processes) && m.t.processes[p.Row].word.Load() != usedBy(p.Incarnation)
		return nil
	})
	return gone
}

// PidOf returns the pid of the session p, as it sees itself; 0 if there is no such session. It takes no lock: it reads
// the row and then looks whether that is still the session's, so the pid of a successor is not returned for it.
func (m *Member) PidOf(p shmsync.Peer) (pid int) {
	_ = contained(func() error {
		if p.Row < 0 || p.Row >= len(m.t.processes) {
			return nil
		}
		info := m.t.processInfo(p.Row)
		if m.t.processes[p.Row].word.Load() == usedBy(p.Incarnation) {
			pid = info.Pid
		}
		return nil
	})
	return pid
}

// alive reports whether the holder of the control lock lives. The lock's word has 20 bits of the incarnation, and that
// is enough: a row can't be used again without its new user entering a section, so a lock that a dead user of the row
// still holds is taken over before the row is used a million times more. A holder in a row that does not exist is
// dead.
func (m *Member) alive(h shmsync.Peer) bool {
	if h.Row < 0 || h.Row >= len(m.t.processes) {
		return false
	}
	w := m.t.processes[h.Row].word.Load()
	return isUsed(w) && incarnationOf(w)&shmsync.MutexIncarnationMask == h.Incarnation && m.witness.Held(h.Row)
}
