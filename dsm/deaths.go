package dsm

import (
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/excerpt"
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

// onAsk has f called when another session asks this one to look at its locks, until stop is called. The calls come as
// those of OnDeath.
func (s *Session) onAsk(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	x := &hearer{f: containedOnDeath(func(shmsync.Peer) { f() })}
	s.hearing.mu.Lock()
	defer s.hearing.mu.Unlock()
	s.hearing.onAsk = append(s.hearing.onAsk, x)
	return func() { s.hearing.dropHearer(x) }
}

// openMailbox makes, in Open, the session's mailbox and its list of waits. It first takes back what the row's last user
// wanted to hear of.
func (s *Session) openMailbox() {
	_ = s.member.Self.Want(false) // what the row's last user wanted
	s.mailbox = s.member.Self.NewMailbox(s.Self())
	s.waits = waits.New(s.followPeer, func() { _ = s.member.Self.Want(true) })
	s.hearing.reclaims, s.hearing.looked = s.member.Books.Table.Reclaims(), time.Now()
}

// ask has another session look at its locks. If this session has left it does nothing.
func (s *Session) ask(p shmsync.Peer) { s.withMappedBooks(func() { s.member.Self.Ask(p) }) }

// withMappedBooks runs f, which may touch the books, unless the session has given them up; Close waits for it. Unlike
// begin it is open to calls of a session that is closing.
func (s *Session) withMappedBooks(f func()) {
	s.mu.Lock()
	if s.state == sessionLeft || s.member == nil {
		s.mu.Unlock()
		return
	}
	s.calls++
	s.mu.Unlock()
	defer s.endCall()
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
	// looked is when the session last looked for dead sessions, and for what comes without news. Only the watcher uses
	// it and reclaims.
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

// dropHearer ends the calls of x: those that are due are not made.
func (h *hearing) dropHearer(x *hearer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.stopped = true
	is := func(y *hearer) bool { return x == y }
	h.onDeath = slices.DeleteFunc(h.onDeath, is)
	h.onAsk = slices.DeleteFunc(h.onAsk, is)
}

// nextDueCall takes the next call that is due. Without one the telling ends: under the same lock, so that a call which
// becomes due afterwards starts another goroutine.
func (h *hearing) nextDueCall() (c call, ok bool) {
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

// announceDeathsLocked makes a call due for each new death and each function of OnDeath. Functions that come later do
// not hear of these deaths. The caller holds hearing.mu.
func (s *Session) announceDeathsLocked() {
	if s.hearing.deaths == nil {
		return
	}
	dead, _ := s.hearing.deaths.Next() // an error is the end of the session, of which the watcher learns
	for _, p := range dead {
		for _, x := range s.hearing.onDeath {
			s.enqueueCallLocked(call{x, p})
		}
	}
}

// enqueueCallLocked adds a call, and starts the goroutine that makes it if there is none. The caller holds hearing.mu.
func (s *Session) enqueueCallLocked(c call) {
	h := &s.hearing
	h.due = append(h.due, c)
	if !h.telling {
		h.telling = true
		go s.runDueCalls()
	}
}

// runDueCalls makes the calls that are due, without a lock. A call that does not return normally leaves the rest to a
// goroutine of its own.
func (s *Session) runDueCalls() {
	done := false
	defer func() {
		if done {
			return
		}
		if r := recover(); r != nil {
			s.log.Error().Str("panic", excerpt.Print(r)).Str("event", "callback-panicked").Msg("a function that was given to OnDeath or OnAsk panicked")
		} else {
			s.log.Warn().Str("event", "callback-exited").Msg("a function that was given to OnDeath or OnAsk has ended its goroutine")
		}
		go s.runDueCalls()
	}()
	for {
		c, ok := s.hearing.nextDueCall()
		if !ok || s.Err() != nil {
			break
		}
		c.to.f(c.dead)
	}
	done = true
}
