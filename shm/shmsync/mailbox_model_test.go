package shmsync_test

import (
	"fmt"
	"testing"
)

// This is a model of MailboxWord and Mailbox: two goroutines that wait for a bit each, three rings of other processes,
// in every order of steps. A step is one access of shared memory or one stretch under the mailbox's mutex that touches
// none. A state without a step, in which one still waits, is a lost ring.

// mailModel says what the model is of, and what is broken in it.
type mailModel struct {
	cancel bool // the context of one that waits may end
	death  bool // one ringer may die, at any step; when nothing else happens a beat comes, once

	looksFirst     bool // the dealer looks at the bits before it says that it sleeps
	wakesFirst     bool // who rings looks whether one sleeps before it sets bits
	sumsFirst      bool // the ringer sets the sum before the bit
	takesDoneFirst bool // the dealer takes the bits before the sum
	keepsRole      bool // who leaves hands the role on to none
	handsQuietly   bool // nor wakes the one it hands the role to
	trusts         bool // a new dealer sleeps without a look
	beatsForOne    bool // the beat rings the dealer alone
	beatsForNone   bool // the beat looks at the sum alone
}

// mailState is comparable: the explorer's key.
type mailState struct {
	done      [2]bool
	some      bool
	wake      bool
	kernel    bool // the dealer sleeps there
	lock      int8 // who has the mutex, plus one
	dealer    int8 // plus one
	rung      [2]bool
	asleep    [2]bool
	token     [2]bool
	cancelled bool // the first one
	beating   bool
	beaten    bool
	waiter    [2]int8
	ringer    [3]int8
	died      bool
}

// Steps of a waiter.
const (
	wLock int8 = iota
	wCheck
	wTake
	wTakeSecond
	wDealerCheck
	wSayAsleep
	wLook
	wSleep
	wInKernel
	wRelock
	wSayAwake
	wOnChannel
	wFromChannel
	wLeave
	wOver
)

// Steps of a ringer.
const (
	rFirst int8 = iota
	rLookSum
	rSum
	rLookWake
	rSwapWake
	rWake
	rOver
)

// ringsBit is which bit each ringer rings.
var ringsBit = [3]int{0, 1, 1}

func (m *mailModel) next(s mailState) (list []mailState) {
	for i := range s.waiter {
		if n, ok := m.stepWaiter(s, i); ok {
			list = append(list, n)
		}
	}
	for r := range s.ringer {
		if s.ringer[r] != rOver {
			list = append(list, m.stepRinger(s, r))
			if m.death && !s.died {
				n := s
				n.ringer[r], n.died = rOver, true
				list = append(list, n)
			}
		}
	}
	if m.cancel && !s.cancelled {
		s.cancelled = true
		list = append(list, s)
	}
	return list
}

func (m *mailModel) stepRinger(s mailState, r int) mailState {
	bit := ringsBit[r]
	at := s.ringer[r]
	s.ringer[r]++
	switch at {
	case rFirst:
		switch {
		case m.sumsFirst:
			s.some = true
		case m.wakesFirst && s.wake:
			s.wake, s.kernel = false, false
		}
		if !m.sumsFirst {
			s.done[bit] = true
		}
	case rLookSum:
		if m.sumsFirst {
			s.done[bit] = true
			s.ringer[r] = rLookWake
		} else if s.some {
			s.ringer[r] = rLookWake
		}
	case rSum:
		s.some = true
	case rLookWake:
		if m.wakesFirst || !s.wake {
			s.ringer[r] = rOver
		}
	case rSwapWake:
		if !s.wake {
			s.ringer[r] = rOver
		}
		s.wake = false
	case rWake:
		s.kernel = false
	}
	return s
}

func (s *mailState) ring(i int) {
	s.rung[i] = true
	if s.asleep[i] {
		s.asleep[i], s.token[i] = false, true
	}
}

func (s *mailState) takeDone() {
	for i := range s.done {
		if s.done[i] {
			s.ring(i)
		}
	}
	s.done = [2]bool{}
}

func (m *mailModel) stepWaiter(s mailState, i int) (_ mailState, ok bool) {
	me, at := int8(i+1), s.waiter[i]
	over := i == 0 && s.cancelled
	s.waiter[i]++
	switch at {
	case wLock, wRelock, wFromChannel:
		if s.lock != 0 {
			return s, false
		}
		s.lock = me
		if at == wFromChannel {
			s.asleep[i] = false
			s.waiter[i] = wCheck
		}
	case wCheck:
		switch {
		case s.rung[i] || over:
			s.waiter[i] = wLeave
		case s.dealer == 0 || s.dealer == me:
			s.dealer = me
			if m.trusts {
				s.waiter[i], s.lock = wSleep, 0
				s.wake = true
			}
		default:
			s.asleep[i], s.lock = true, 0
			s.waiter[i] = wOnChannel
		}
	case wTake:
		switch {
		case m.takesDoneFirst:
			s.takeDone()
		case !s.some:
			s.waiter[i] = wDealerCheck
		default:
			s.some = false
		}
	case wTakeSecond:
		if m.takesDoneFirst {
			s.some = false
		} else {
			s.takeDone()
		}
	case wDealerCheck:
		if s.rung[i] || over {
			s.waiter[i] = wLeave
		}
	case wSayAsleep:
		if m.looksFirst && s.some {
			s.waiter[i] = wTake
			break
		}
		if !m.looksFirst {
			s.wake = true
		}
	case wLook:
		if m.looksFirst {
			s.wake = true
		} else if s.some {
			s.wake = false
			s.waiter[i] = wTake
			break
		}
		s.lock = 0
	case wSleep:
		if s.kernel = s.wake; !s.wake {
			s.waiter[i] = wRelock
		}
	case wInKernel:
		if s.kernel && !over && !s.beating {
			return s, false
		}
		s.kernel = false
	case wSayAwake:
		s.wake = false
		s.waiter[i] = wTake
		if s.beating {
			s.beating = false
			if m.beatsForNone {
				break
			}
			s.some, s.done = false, [2]bool{}
			for k := range s.rung {
				if k == i || !m.beatsForOne {
					s.ring(k)
				}
			}
		}
	case wOnChannel:
		if !s.token[i] && !over {
			return s, false
		}
		s.token[i] = false
	case wLeave:
		if other := 1 - i; s.dealer == me {
			s.dealer = 0
			if s.asleep[other] && !m.keepsRole {
				s.dealer = int8(other + 1)
				s.asleep[other], s.token[other] = false, !m.handsQuietly
			}
		}
		s.lock = 0
	case wOver:
		return s, false
	}
	return s, true
}

// explore visits every state and returns the number of states, and one in which a ring is lost.
func (m *mailModel) explore() (states int, lost *mailState) {
	seen := map[mailState]bool{{}: true}
	for todo := []mailState{{}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		next := m.next(s)
		if len(next) == 0 || m.cancel && !s.cancelled && len(next) == 1 { // a context need not end
			switch {
			case s.waiter == [2]int8{wOver, wOver}:
			case m.death && s.kernel && !s.beaten:
				s.beating, s.beaten = true, true
				next = append(next, s)
			default:
				return len(seen), &s
			}
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

// TestMailboxModel explores every order of ringing, waiting, cancelling, dying and handing on the dealer's role.
func TestMailboxModel(t *testing.T) {
	for name, m := range map[string]mailModel{
		"rings":          {},
		"a context ends": {cancel: true},
		"a ringer dies":  {death: true},
		"both":           {cancel: true, death: true},
	} {
		t.Run(name, func(t *testing.T) {
			states, lost := m.explore()
			if lost != nil {
				t.Errorf("a ring is lost: %+v", *lost)
			}
			t.Logf("%d states", states)
		})
	}
	for name, m := range map[string]mailModel{
		"the dealer looks before it says that it sleeps": {looksFirst: true},
		"who rings looks for a sleeper first":            {wakesFirst: true},
		"who rings sets the sum first":                   {sumsFirst: true},
		"the dealer takes the bits before the sum":       {takesDoneFirst: true},
		"who leaves keeps the role":                      {keepsRole: true},
		"who leaves wakes none":                          {handsQuietly: true},
		"a new dealer trusts":                            {trusts: true},
		"the beat rings the dealer alone":                {death: true, beatsForOne: true},
		"the beat looks at the sum alone":                {death: true, beatsForNone: true},
	} {
		t.Run(fmt.Sprint("mutation: ", name), func(t *testing.T) {
			if states, lost := m.explore(); lost == nil {
				t.Errorf("%d states, and no ring is lost", states)
			}
		})
	}
}
