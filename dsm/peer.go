package dsm

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm/shmsync"
)

// How the goroutines of this session that wait for another one learn of its death: from the kernel where that can watch
// the other process, and else by questions. The kernel's word is a hint; the witness decides.

const (
	// askEvery is how often the watcher asks for sessions that are waited for and of whose death the kernel does not
	// tell.
	askEvery = 16 * time.Millisecond
	// hintEvery is how often the witness is asked for once the kernel has told of a death, for at most hintPatience: in
	// another pid namespace the pid may be another process's.
	hintEvery    = time.Millisecond
	hintPatience = time.Second
)

// followPeer has hint called when a session that is waited for has died. Told is false if the kernel can't report that:
// then the watcher asks every askEvery. Stop, if it is not nil, takes the request back.
func (s *Session) followPeer(p uint64, hint func()) (stop func(), told bool) {
	var pid int
	s.withMappedBooks(func() { pid = s.member.Self.PidOf(shmsync.PeerOf(p)) })
	switch pid {
	case 0: // it has gone, as the one that waits finds out at once
		return nil, true
	// A session of this process: if the process dies, so does the goroutine that waits.
	case os.Getpid():
		return nil, true
	}
	stop, err := liveness.Watch(pid, func() {
		for end := time.Now().Add(hintPatience); !s.peerDied(p); time.Sleep(hintEvery) {
			if s.Err() != nil || time.Now().After(end) {
				return
			}
		}
		hint()
	})
	if err != nil {
		// The watcher wakes, and asks from now on.
		s.withMappedBooks(s.member.Self.Nudge)
		return nil, false
	}
	return stop, true
}

// peerDied reports whether session p has died, by its witness.
func (s *Session) peerDied(p uint64) bool { return !s.alive(shmsync.PeerOf(p)) }

// peerText returns for people which session p is: its name and, while it lives, process, application and state. In
// lists and reports of this package SessionInfo.Name is the same name.
func (s *Session) peerText(p shmsync.Peer) string {
	name := "session " + p.String()
	s.withMappedBooks(func() {
		info := s.member.Books.Table.Process(p.Row)
		if s.member.Self.Gone(p) || info.Row != p.Row {
			name += " (it has ended)"
			return
		}
		seen := witnessLooks{}.sessionInfo(info, s.member.Books.Roll.Held(p.Row))
		name += fmt.Sprintf(" (process %d, %s, %s)", seen.Pid, cmp.Or(seen.Application, "no application name"), seen.State)
	})
	return name
}

// alive reports whether a peer lives. Once the session has given up its row the books must not be touched, and the
// answer is true: to wait longer than needed is harmless, to take a living process's rights is not.
func (s *Session) alive(p shmsync.Peer) bool {
	s.mu.Lock()
	if s.state == sessionLeft {
		s.mu.Unlock()
		return true
	}
	s.calls++
	s.mu.Unlock()
	defer s.endCall()
	return s.member.Self.Alive(p)
}

// peerName returns the name of the session that an event is about or was done by; empty if there is none.
func peerName(p shmsync.Peer) string {
	if p.Row < control.SupervisorRow {
		return ""
	}
	return p.String()
}
