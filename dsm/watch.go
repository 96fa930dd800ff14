package dsm

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// The watcher is the one goroutine that a session has while it is open. It is the only one that sleeps on the control
// segment's news, so a session costs one wait however many goroutines of the program wait for its end.

// watch runs in a goroutine from Open to leaveAndUnmap. It waits for the end of the instance's life, which the books
// tell or, if those are lost, the directory, and ends the session then. On the way it passes on what the session hears
// (hear), refreshes the clock, and once a second releases locks that name this process by a stray store alone.
func (s *Session) watch(ctx context.Context) {
	defer close(s.watched)
	defer s.waits.End()
	told := false
	for {
		closing, idle, err := s.watchOnce(ctx)
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

// watchOnce does one step of the session's watcher: it sleeps until there is news, for at most a second, and passes
// that on. Closing reports that the instance ends. Idle reports that it has woken for questions about other sessions
// alone. It ends early, without an error of its own, if ctx or the session ends.
//
// A second without news is not trusted: everything that news would bring is looked for once a second, since the process
// that was to ring may have died before it did.
func (s *Session) watchOnce(ctx context.Context) (closing, idle bool, err error) {
	pause := time.Until(s.hearing.looked.Add(time.Second))
	asking := s.waits.Ask(s.peerDied)
	if asking {
		pause = min(pause, askEvery)
	}
	var news shmsync.News
	if pause > 0 {
		news, err = s.member.Self.Listen(ctx, pause)
	}
	// A death here loses news that this session alone would have acted on. If it was the foremost without a supervisor,
	// the next one looks for dead sessions within a second.
	failpoint.Hit("dsm/hear/heard")
	if err != nil || ctx.Err() != nil || s.Err() != nil {
		return false, false, err
	}
	now := time.Now()
	beat := now.Sub(s.hearing.looked) >= time.Second
	if asking && news == 0 && !beat {
		return false, true, nil
	}
	if news&shmsync.NewsAsk != 0 {
		s.hearing.mu.Lock()
		for _, x := range s.hearing.onAsk {
			s.enqueueHearerCallLocked(hearerCall{to: x})
		}
		s.hearing.mu.Unlock()
	}
	if beat {
		s.hearing.looked = now
		s.reclaimDead(ctx)
	}
	if beat || news&shmsync.NewsAsk != 0 {
		s.waits.Beat(s.peerDied)
	}
	n := s.member.Books.Table.Reclaims()
	if n != s.hearing.reclaims || news&shmsync.NewsDeath != 0 {
		s.waits.Died(func(p uint64) bool { return s.member.Self.Gone(shmsync.PeerOf(p)) })
	}
	if n != s.hearing.reclaims {
		s.hearing.reclaims = n
		// The dead session may have been about to ring for a lock that it had given back: a goroutine that waits looks
		// again.
		s.mailbox.Nudge()
		s.hearing.mu.Lock()
		s.announceDeathsLocked()
		s.hearing.mu.Unlock()
	}
	if closing = s.member.Books.Table.Closing(); closing {
		s.mailbox.Nudge()
	}
	return closing, false, nil
}
