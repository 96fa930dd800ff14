package dsm

import (
	"context"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// The watcher is the one goroutine that a session has while it is open. It is the only one that sleeps on the control
// segment's news, so a session costs one wait however many goroutines of the program wait for its end.

// watch runs in a goroutine from Open to quit. It waits for the end of the instance's life, which the books tell or, if
// those are lost, the directory, and ends the session then. On the way it passes on what the session hears (hear),
// refreshes the clock, and once a second releases locks that name this process by a stray store alone.
func (s *Session) watch(ctx context.Context) {
	defer close(s.watched)
	defer s.waits.End()
	told := false
	for {
		closing, idle, err := s.hear(ctx)
		if idle {
			continue
		}
		// A stray store may have made the control lock's word name this session, which would never release it.
		_ = s.member.Self.Disavow(context.Background())
		if err := s.member.FollowMembers(); err != nil && !told {
			told = true
			s.log.Warn().Err(err).Str("event", "members-unfollowed").Msg("the session's row can't be taken in the members file that comes in another's place")
		}
		shmsync.Disavow()
		s.clock.Store(max(s.clock.Load(), time.Now().UnixNano()))
		s.mu.Lock()
		if s.err == nil && (closing || err != nil || s.member.Books.Dir.Stale(s.member.Books.Record)) {
			s.endLocked(ErrStale)
		}
		over := s.err != nil
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// stopWatching ends the watcher and returns when its goroutine has ended. It nudges it again and again, for systems on
// which a sleep in the books does not end with its context.
func (s *Session) stopWatching() {
	s.unwatch()
	for {
		select {
		case <-s.watched:
			return
		// The end of a context does not wake a sleeper everywhere.
		case <-time.After(time.Millisecond):
			s.member.Self.Nudge()
		}
	}
}
