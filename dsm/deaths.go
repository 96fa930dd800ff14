package dsm

import (
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
)

// What a session hears of other sessions: that one has died, that one asks it to look at its locks, that a wait for one
// is in vain. News comes by the session's mailbox, to its watcher. The watcher passes it on and waits for no function
// of the program, so it does not matter to the session how slow those are.

// OnDeath has f called for each session of the instance that dies from now on, until stop is called or this session
// ends (Done reports that). By then the dead session's references and row have been given back.
//
//   - A session that closes has not died. The death of a supervisor is not reported; that of a session in its process
//     is.
//   - Each death is reported once, in the order in which dead sessions were reclaimed, and none is lost: to a session that
//     was stopped, or over a change of supervisors, it is reported late.
//   - A supervisor's reclaim reports at once. While no supervisor lives, the living session of the lowest row looks for
//     dead sessions once a second.
//
// Calls of f, and of the functions that Self.OnAsk was given, come one after another from one goroutine that the
// session starts when there is something to report: what a slow f holds up is the next call alone. The session waits
// for none, so f may close it. A call that has begun may go on after stop. A panic of f is logged; Goexit ends nothing
// but that call. A nil f is no function.
func (s *Session) OnDeath(f func(shmsync.Peer)) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: f}
	s.withMappedBooks(func() {
		s.hearing.mu.Lock()
		defer s.hearing.mu.Unlock()
		if s.hearing.deaths == nil {
			// Before the first look at the list of deaths: a session that dies in between is then reported at once.
			_ = s.member.Self.Want(true)
			s.hearing.deaths, _ = s.member.Books.Table.Deaths()
		} else {
			s.announceDeathsLocked()
		}
		s.hearing.onDeath = append(s.hearing.onDeath, x)
	})
	return func() { s.hearing.dropHearer(x) }
}

// onDeath is OnDeath for the structures that stand on the session. Their functions touch segments, which a neighbour may
// have truncated; the next call of a structure says so.
func (s *Session) onDeath(f func(shmsync.Peer)) (stop func()) {
	if f == nil {
		return func() {}
	}
	return s.OnDeath(containedOnDeath(f))
}

// containedOnDeath returns a function that calls f, and that a fault ends: it has no caller that the fault could be an
// error of.
func containedOnDeath(f func(shmsync.Peer)) func(shmsync.Peer) {
	return func(p shmsync.Peer) {
		defer fault.Ignore(fault.Catch())
		f(p)
	}
}

// announceDeathsLocked makes a call due for each new death and each function of OnDeath. Functions that come later do
// not hear of these deaths. The caller holds hearing.mu.
func (s *Session) announceDeathsLocked() {
	if s.hearing.deaths == nil {
		return
	}
	dead, _ := s.hearing.deaths.Next() // an error is the end of the session, of which the watcher learns
	for _, p := range dead {
		for _, x := range s.hearing.onDeath {
			s.enqueueHearerCallLocked(hearerCall{x, p})
		}
	}
}
