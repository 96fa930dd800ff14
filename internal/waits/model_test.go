package waits

import (
	"fmt"
	"testing"
)

// This is a model of how a wait and the news of a death meet: a goroutine that waits, the session that it waits for,
// which publishes, wakes and may die at any step, and the watcher, which hears of the death at any time later and may
// end. A step is one atomic access, or one stretch under Waits.mu. A state without a step, in which the goroutine
// sleeps, is lost.

// model says what is broken in the model.
type model struct {
	ends bool // the watcher may end, before or after the death

	looksFirst  bool // the goroutine looks before it stores that it sleeps
	joinsLast   bool // it takes its place after it has looked
	trusts      bool // a new place is not in doubt
	settlesLast bool // what is in doubt is asked for before the doubt is taken back
	wakesFirst  bool // the watcher looks for a sleeper before it marks the place
	marksNone   bool // the watcher wakes, and marks nothing
	endsLast    bool // the watcher wakes all before it says that it ends
	endsQuietly bool // the watcher wakes none when it ends
}

type state struct {
	published, dead bool
	peer            int8 // its step
	joined, doubt   bool
	asleep          bool // the word says so
	kernel          bool // the goroutine sleeps there
	over            bool // the watcher has ended
	waiter, watcher int8
	ending          int8
	finds           bool // what the goroutine has found about the peer's life
}

const (
	wStore  int8 = iota // that it sleeps
	wJoin               // has its place
	wSettle             // is it in doubt?
	wAsk                // does the peer live?
	wLook               // has the peer published?
	wSleep              // unless the word has changed
	wAsleep
	wNap // no watcher: it asks from time to time
	wOver
)

func (m *model) wake(s *state) {
	if s.asleep {
		s.asleep, s.kernel = false, false
	}
}

func (m *model) stepWaiter(s state) (_ state, ok bool) {
	order := []int8{wStore, wJoin, wSettle, wAsk, wLook, wSleep}
	switch {
	case m.looksFirst:
		order = []int8{wJoin, wSettle, wAsk, wLook, wStore, wSleep}
	case m.joinsLast:
		order = []int8{wStore, wSettle, wAsk, wLook, wJoin, wSleep}
	case m.settlesLast:
		order = []int8{wStore, wJoin, wAsk, wSettle, wLook, wSleep}
	}
	if int(s.waiter) >= len(order) {
		switch s.waiter {
		case wAsleep:
			if s.kernel {
				return s, false
			}
			s.waiter = 0
			return s, true
		case wNap:
			if s.dead || s.published {
				s.waiter = wOver
				return s, true
			}
		}
		return s, false
	}
	at := order[s.waiter]
	s.waiter++
	switch at {
	case wStore:
		s.asleep = true
	case wJoin:
		if s.over {
			s.waiter = wNap
		} else if !s.joined {
			s.joined, s.doubt = true, !m.trusts
		}
	case wSettle:
		if m.settlesLast {
			s.doubt = false
			if s.finds {
				s.waiter = wOver
			}
			break
		}
		s.finds, s.doubt = s.doubt, false
	case wAsk:
		if m.settlesLast {
			s.finds = s.doubt && s.dead
		} else if s.finds && s.dead {
			s.waiter = wOver
		}
		if !m.settlesLast {
			s.finds = false
		}
	case wLook:
		if s.published {
			s.waiter = wOver
		}
	case wSleep:
		s.kernel = s.asleep
		s.waiter = wAsleep
	}
	return s, true
}

func (m *model) next(s state) (list []state) {
	if n, ok := m.stepWaiter(s); ok {
		list = append(list, n)
	}
	if n := s; !s.dead && s.peer < 2 { // it publishes, then wakes
		if n.peer++; s.peer == 0 {
			n.published = true
		} else {
			m.wake(&n)
		}
		list = append(list, n)
	}
	if n := s; !s.dead {
		n.dead = true
		list = append(list, n)
	}
	if n := s; s.dead && s.watcher < 2 && s.ending == 0 && !s.over { // it marks, then wakes
		n.watcher++
		marks := s.watcher == 0 != m.wakesFirst
		switch {
		case marks && s.joined && !m.marksNone:
			n.doubt = true
		case !marks && s.joined:
			m.wake(&n)
		}
		list = append(list, n)
	}
	if n := s; m.ends && s.ending < 2 && (s.watcher == 0 || s.watcher == 2) { // it says so, then wakes all
		n.ending++
		says := s.ending == 0 != m.endsLast
		switch {
		case says:
			n.over = true
			n.doubt = n.doubt || n.joined
		case !m.endsQuietly:
			n.doubt = n.doubt || n.joined
			m.wake(&n)
		}
		list = append(list, n)
	}
	return list
}

// explore visits every state and returns the number of states, and one in which the goroutine sleeps for ever.
func (m *model) explore() (states int, lost *state) {
	seen := map[state]bool{{}: true}
	for todo := []state{{}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		next := m.next(s)
		if len(next) == 0 && s.waiter != wOver {
			return len(seen), &s
		}
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}
	}
	return len(seen), nil
}

// TestWaitsModel explores every order of waiting, publishing, dying and telling.
func TestWaitsModel(t *testing.T) {
	for name, m := range map[string]model{"a death is told": {}, "the watcher may end": {ends: true}} {
		t.Run(name, func(t *testing.T) {
			states, lost := m.explore()
			if lost != nil {
				t.Errorf("the goroutine sleeps for ever: %+v", *lost)
			}
			t.Logf("%d states", states)
		})
	}
	for name, m := range map[string]model{
		"it looks before it stores that it sleeps":      {looksFirst: true},
		"it takes its place after the look":             {joinsLast: true},
		"a new place is not in doubt":                   {trusts: true},
		"the doubt is taken back after the question":    {settlesLast: true},
		"the watcher looks for a sleeper first":         {wakesFirst: true},
		"the watcher marks nothing":                     {marksNone: true},
		"the watcher wakes all, then says that it ends": {ends: true, endsLast: true},
		"the watcher ends and wakes none":               {ends: true, endsQuietly: true},
	} {
		t.Run(fmt.Sprint("mutation: ", name), func(t *testing.T) {
			if states, lost := m.explore(); lost == nil {
				t.Errorf("%d states, and none is lost", states)
			}
		})
	}
}
