package dsm

import (
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/shm/shmsync"
)

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
	due []hearerCall
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

// hearerCall is one call of a hearer that is due.
type hearerCall struct {
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

// nextHearerCall takes the next call that is due. Without one the telling ends: under the same lock, so that a call which
// becomes due afterwards starts another goroutine.
func (h *hearing) nextHearerCall() (c hearerCall, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.due) > 0 {
		c, h.due = h.due[0], h.due[1:]
		if !c.to.stopped {
			return c, true
		}
	}
	h.due, h.telling = nil, false
	return hearerCall{}, false
}

// enqueueHearerCallLocked adds a call, and starts the goroutine that makes it if there is none. The caller holds hearing.mu.
func (s *Session) enqueueHearerCallLocked(c hearerCall) {
	h := &s.hearing
	h.due = append(h.due, c)
	if !h.telling {
		h.telling = true
		go s.runHearerCalls()
	}
}

// runHearerCalls makes the calls that are due, without a lock. A call that does not return normally leaves the rest to a
// goroutine of its own.
func (s *Session) runHearerCalls() {
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
		go s.runHearerCalls()
	}()
	for {
		c, ok := s.hearing.nextHearerCall()
		if !ok || s.Err() != nil {
			break
		}
		c.to.f(c.dead)
	}
	done = true
}
