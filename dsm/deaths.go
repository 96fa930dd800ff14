package dsm

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/waits"
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
	s.withBooks(func() {
		s.hearing.mu.Lock()
		defer s.hearing.mu.Unlock()
		if s.hearing.deaths == nil {
			// Before the first look at the list of deaths: a session that dies in between is then reported at once.
			_ = s.member.Self.Want(true)
			s.hearing.deaths, _ = s.member.Books.Table.Deaths()
		} else {
			s.mournLocked()
		}
		s.hearing.onDeath = append(s.hearing.onDeath, x)
	})
	return func() { s.hearing.drop(x) }
}

// onDeath is OnDeath for the structures that stand on the session. Their functions touch segments, which a neighbour may
// have truncated; the next call of a structure says so.
func (s *Session) onDeath(f func(shmsync.Peer)) (stop func()) {
	if f == nil {
		return func() {}
	}
	return s.OnDeath(contained(f))
}

// contained returns a function that calls f, and that a fault ends: it has no caller that the fault could be an error of.
func contained(f func(shmsync.Peer)) func(shmsync.Peer) {
	return func(p shmsync.Peer) {
		defer fault.Ignore(fault.Catch())
		f(p)
	}
}

// onAsk has f called when another session asks this one to look at its locks, until stop is called. The calls come as
// those of OnDeath.
func (s *Session) onAsk(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: contained(func(shmsync.Peer) { f() })}
	s.hearing.mu.Lock()
	defer s.hearing.mu.Unlock()
	s.hearing.onAsk = append(s.hearing.onAsk, x)
	return func() { s.hearing.drop(x) }
}

// openMail makes, in Open, the session's mailbox and its list of waits. It first takes back what the row's last user
// wanted to hear of.
func (s *Session) openMail() {
	_ = s.member.Self.Want(false) // what the row's last user wanted
	s.mailbox = s.member.Self.NewMailbox(s.Self())
	s.waits = waits.New(s.follow, func() { _ = s.member.Self.Want(true) })
	s.hearing.reclaims, s.hearing.looked = s.member.Books.Table.Reclaims(), time.Now()
}

// ask has another session look at its locks. If this session has left it does nothing.
func (s *Session) ask(p shmsync.Peer) { s.withBooks(func() { s.member.Self.Ask(p) }) }

// withBooks runs f, which may touch the books, unless the session has given them up; Close waits for it. Unlike begin
// it is open to calls of a session that is closing.
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

// hearing is what a session has heard and which functions it is to call for that. Its mu is taken without any other
// lock of this package.
type hearing struct {
	mu sync.Mutex
	// deaths reads the list of deaths from the first OnDeath on. It is nil before.
	deaths *control.Deaths
	// onDeath and onAsk are the functions that are called, in the order in which they came.
	onDeath []*hearer
	onAsk   []*hearer
	// due are the calls that are to be made, the oldest first.
	due []call
	// telling means that there is a goroutine that makes the calls which are due. There is one at most, so calls come
	// one after another.
	telling bool
	// reclaims is the instance's count of reclaims at the last look: another number means that there are new deaths.
	reclaims uint32
	// looked is when the session last looked for dead sessions, and for what comes without news. Only the watcher uses it
	// and reclaims.
	looked time.Time
}

// hearer is a function of OnDeath or OnAsk. Stopped is under hearing.mu; no call begins once it is set.
type hearer struct {
	f       func(shmsync.Peer)
	stopped bool
}

// call is one call of a hearer that is due.
type call struct {
	to   *hearer
	dead shmsync.Peer
}

// drop ends the calls of x: those that are due are not made.
func (h *hearing) drop(x *hearer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.stopped = true
	is := func(y *hearer) bool { return x == y }
	h.onDeath = slices.DeleteFunc(h.onDeath, is)
	h.onAsk = slices.DeleteFunc(h.onAsk, is)
}

// next takes the next call that is due. Without one the telling ends: under the same lock, so that a call which becomes
// due afterwards starts another goroutine.
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

// hear does one step of the session's watcher: it sleeps until there is news, for at most a second, and passes that on.
// Closing reports that the instance ends. Idle reports that it has woken for questions about other sessions alone. It
// ends early, without an error of its own, if ctx or the session ends.
//
// A second without news is not trusted: everything that news would bring is looked for once a second, since the process
// that was to ring may have died before it did.
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
		s.mournLocked()
		s.hearing.mu.Unlock()
	}
	if closing = s.member.Books.Table.Closing(); closing {
		s.mailbox.Nudge()
	}
	return closing, false, nil
}

// mournLocked makes a call due for each new death and each function of OnDeath. Functions that come later do not hear
// of these deaths. The caller holds hearing.mu.
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

// dueLocked adds a call, and starts the goroutine that makes it if there is none. The caller holds hearing.mu.
func (s *Session) dueLocked(c call) {
	h := &s.hearing
	h.due = append(h.due, c)
	if !h.telling {
		h.telling = true
		go s.tell()
	}
}

// tell makes the calls that are due, without a lock. A call that does not return normally leaves the rest to a
// goroutine of its own.
func (s *Session) tell() {
	done := false
	defer func() {
		if done {
			return
		}
		if r := recover(); r != nil {
			s.log.Error().Interface("panic", r).Str("event", "callback-panicked").Msg("a function that was given to OnDeath or OnAsk panicked")
		} else {
			s.log.Warn().Str("event", "callback-exited").Msg("a function that was given to OnDeath or OnAsk has ended its goroutine")
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
// reclaims dead sessions, and replaces a members file that was removed. It waits at most a second for the control lock;
// what fails is tried again a second later.
func (s *Session) lookForDead(ctx context.Context) {
	m := s.member
	if m.Books.Supervised() || m.Books.Table.Closing() || !m.Foremost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := m.RenewMembers(ctx); err != nil {
		s.log.Debug().Err(err).Str("event", "members-refused").Msg("another members file can't come in the place of one that was removed; it is tried again")
	}
	if n, err := m.ReclaimDead(ctx); err != nil {
		s.log.Warn().Err(err).Str("event", "reclaim-refused").Msg("the dead can't be reclaimed now; it is tried again")
	} else if n > 0 {
		// A death here leaves segments that are destroying by this session: the session that reclaims it removes them.
		failpoint.Hit("dsm/look/reclaimed")
	}
	s.settle()
}
