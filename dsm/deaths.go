package dsm

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/shmsync"
)

// OnDeath has f called for each session of the instance that has died since, until stop is called or this session ends
// (Done tells that). A session that closes has not died. Each death is told once, in the order in which the dead were
// reclaimed, and never lost: to a session that was stopped, or over a change of supervisors, it is told late. By
// then the dead one's references and row have been given back. The death of a supervisor is none, that of a session in its
// process is.
//
// A supervisor's reclaim tells at once. While none lives the living session of the lowest row looks for the dead once a
// second.
//
// Calls of f, and of the functions that Self.OnAsk was given, come one after another from one goroutine that the session
// starts when there is something to tell: what a slow f holds up is the next call alone. The session waits for none, so f
// may close it. A call that has begun may go on after stop. What f panics with is logged; Goexit ends nothing but that
// call. A nil f is no function.
func (s *Session) OnDeath(f func(shmsync.Peer)) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: f}
	s.withBooks(func() {
		s.hearing.mu.Lock()
		defer s.hearing.mu.Unlock()
		if s.hearing.deaths == nil {
			_ = s.member.Self.Want(true) // before the first look: who dies in between is told of at once
			s.hearing.deaths, _ = s.member.Deaths()
		} else {
			s.mournLocked()
		}
		s.hearing.onDeath = append(s.hearing.onDeath, x)
	})
	return func() { s.hearing.drop(x) }
}

func (s *Session) onAsk(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: func(shmsync.Peer) { f() }}
	s.hearing.mu.Lock()
	defer s.hearing.mu.Unlock()
	s.hearing.onAsk = append(s.hearing.onAsk, x)
	return func() { s.hearing.drop(x) }
}

// openMail is a part of Open.
func (s *Session) openMail() {
	_ = s.member.Self.Want(false) // what the row's last user wanted
	s.mailbox = s.member.Self.NewMailbox(s.Self())
	s.waits = waits.New(s.follow, func() { _ = s.member.Self.Want(true) })
	s.hearing.reclaims, s.hearing.looked = s.member.Reclaims(), time.Now()
}

// ask has another session look at its locks.
func (s *Session) ask(p shmsync.Peer) { s.withBooks(func() { s.member.Self.Ask(p) }) }

// withBooks runs f, which may touch the books, unless the session has given them up; Close waits for it.
func (s *Session) withBooks(f func()) {
	s.mu.Lock()
	if s.state == sessionLeft || s.member == nil {
		s.mu.Unlock()
		return
	}
	s.calls++
	s.mu.Unlock()
	defer s.end()
	f()
}

// hearing is what a session tells of what it has heard.
type hearing struct {
	mu       sync.Mutex
	deaths   *control.Deaths // from the first OnDeath on
	onDeath  []*hearer
	onAsk    []*hearer
	due      []call
	telling  bool // there is a goroutine that makes the calls
	reclaims uint32
	looked   time.Time // for the dead, and for what comes without news
}

type hearer struct {
	f       func(shmsync.Peer)
	stopped bool
}

type call struct {
	to   *hearer
	dead shmsync.Peer
}

func (h *hearing) drop(x *hearer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.stopped = true
	is := func(y *hearer) bool { return x == y }
	h.onDeath = slices.DeleteFunc(h.onDeath, is)
	h.onAsk = slices.DeleteFunc(h.onAsk, is)
}

// next takes the next call that is due. Without one the telling ends.
func (h *hearing) next() (c call, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.due) > 0 {
		c, h.due = h.due[0], h.due[1:]
		if !c.to.stopped {
			return c, true
		}
	}
	h.due, h.telling = nil, false
	return call{}, false
}

// hear is a step of the session's watcher: it sleeps until there is news, for at most a second, and passes that on. Idle is
// whether it has woken for questions about other sessions alone.
func (s *Session) hear(ctx context.Context) (closing, idle bool, err error) {
	pause := time.Until(s.hearing.looked.Add(time.Second))
	asking := s.waits.Ask(s.dead)
	if asking {
		pause = min(pause, askEvery)
	}
	var news shmsync.News
	if pause > 0 {
		news, err = s.member.Self.Listen(ctx, pause)
	}
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
			s.dueLocked(call{to: x})
		}
		s.hearing.mu.Unlock()
	}
	if beat {
		s.hearing.looked = now
		s.lookForDead(ctx)
	}
	if beat || news&shmsync.NewsAsk != 0 {
		s.waits.Beat(s.dead)
	}
	n := s.member.Reclaims()
	if n != s.hearing.reclaims || news&shmsync.NewsDeath != 0 {
		s.waits.Died(func(p uint64) bool { return s.member.Self.Gone(shmsync.PeerOf(p)) })
	}
	if n != s.hearing.reclaims {
		s.hearing.reclaims = n
		s.mailbox.Nudge() // the dead one may have been about to ring
		s.hearing.mu.Lock()
		s.mournLocked()
		s.hearing.mu.Unlock()
	}
	if closing = s.member.Closing(); closing {
		s.mailbox.Nudge()
	}
	return closing, false, nil
}

// mournLocked has, under hearing.mu, each who hears of deaths told of the new ones. Those who come later are not.
func (s *Session) mournLocked() {
	if s.hearing.deaths == nil {
		return
	}
	dead, _ := s.hearing.deaths.Next() // an error is the end of the session, of which the watcher learns
	for _, p := range dead {
		for _, x := range s.hearing.onDeath {
			s.dueLocked(call{x, p})
		}
	}
}

func (s *Session) dueLocked(c call) {
	h := &s.hearing
	h.due = append(h.due, c)
	if !h.telling {
		h.telling = true
		go s.tell()
	}
}

// tell makes the calls that are due. A call that does not return leaves the rest to a goroutine of its own.
func (s *Session) tell() {
	done := false
	defer func() {
		if done {
			return
		}
		if r := recover(); r != nil {
			s.log.Error().Interface("panic", r).Msg("a function that was given to OnDeath or OnAsk panicked")
		} else {
			s.log.Warn().Msg("a function that was given to OnDeath or OnAsk has ended its goroutine")
		}
		go s.tell()
	}()
	for {
		c, ok := s.hearing.next()
		if !ok || s.Err() != nil {
			break
		}
		c.to.f(c.dead)
	}
	done = true
}

// lookForDead does what a supervisor would, if none lives and no session does in a lower row, since one is enough: it
// reclaims dead sessions, and puts another members file in the place of one that was removed.
func (s *Session) lookForDead(ctx context.Context) {
	m := s.member
	if m.Supervised() || m.Closing() || !m.Foremost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := m.RenewMembers(ctx); err != nil {
		s.log.Debug().Err(err).Msg("another members file can't come in the place of one that was removed; it is tried again")
	}
	if n, err := m.ReclaimDead(ctx); err != nil {
		s.log.Warn().Err(err).Msg("the dead can't be reclaimed now; it is tried again")
	} else if n > 0 {
		failpoint.Hit("dsm/look/reclaimed")
	}
	s.settle()
}
