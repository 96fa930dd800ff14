package waitqueue_test

import (
	"fmt"

	"github.com/godsm/godsm/shm/waitqueue"
)

// This file has what an actor of the explorer does in one step, in calls of the package.

// scene is a state in the structures of the package.
type scene struct {
	*state
	p    *plan
	h    waitqueue.Head
	recs [2 * actors]waitqueue.Record
	q    waitqueue.Queue
	err  error
}

func (s *scene) load() {
	s.h.Restore(s.state.head)
	for i := range s.recs {
		s.recs[i].Restore(s.state.recs[i])
	}
	s.q = waitqueue.Queue{Head: &s.h, Key: 9, Now: 1 + uint64(s.now)*uint64(unit), At: func(r waitqueue.Ref) *waitqueue.Record {
		if r < 1 || int(r) > len(s.recs) {
			return nil
		}
		return &s.recs[r-1]
	}}
}

func (s *scene) store() {
	s.state.head = s.h.Copy()
	for i := range s.recs {
		s.state.recs[i] = s.recs[i].Copy()
	}
}

func (s *scene) hold(i int) waitqueue.Hold {
	return waitqueue.HoldOf(i, s.p.modes[i], 0, uint32(s.round[i]))
}

func rowOf(r waitqueue.Ref) int { return int(r-1) / 2 }

// locked begins a critical section: it makes good what one left that died in its own.
func (s *scene) locked() {
	if !s.dirty {
		return
	}
	s.dirty = false
	s.q.RelinkLocked()
	for i := range s.recs {
		if s.recs[i].State().Kind() != waitqueue.Free {
			s.q.EnterLocked(waitqueue.Ref(i+1), &s.recs[i])
		}
	}
	s.q.CallLocked()
}

// enter puts a record of actor i into the queue, as far as cut says: 0 is all of it.
func (s *scene) enter(n int, k waitqueue.Kind, m waitqueue.Mode, flags waitqueue.State, ticket uint64, cut int) {
	r := &s.recs[n]
	r.Head.Store(9)
	r.Ticket.Store(ticket)
	r.Since.Store(s.q.Now)
	r.Word.Store(uint64(waitqueue.StateOf(k, m, 0, uint32(s.round[n/2])) | flags))
	if cut == 0 {
		s.q.EnterLocked(waitqueue.Ref(n+1), r)
	}
}

func (s *scene) ticket() uint64 {
	s.tickets++
	return uint64(s.tickets)
}

func (s *scene) leave(n int, cut int) {
	r := &s.recs[n]
	r.Word.Store(uint64(r.State().With(waitqueue.Gone)))
	if cut == 1 {
		return
	}
	s.q.LeaveLocked(r)
	if cut == 2 {
		return
	}
	r.Word.Store(0)
}

// own is what actor i holds, as a queue knows it.
func (s *scene) own(i int) waitqueue.Ref {
	if s.place[i] {
		return waitqueue.InPlace
	}
	return waitqueue.Ref(2*i + 1)
}

// attempt is Lock's first try.
func (s *scene) attempt(i, cut int) {
	m := s.p.modes[i]
	if s.p.mutant == "two words" {
		if s.h.TryTake(waitqueue.HoldOf(-1, m, 0, 0)) {
			s.phase[i] = half
			return
		}
	} else if s.p.mutant == "bare counts" && m == waitqueue.Shared {
		if s.h.Word.Load() == 0 {
			s.readers++
			s.phase[i], s.place[i] = inside, true
			return
		}
	} else if (s.p.mutant != "bare counts" || s.readers == 0) && s.h.TryTake(s.hold(i)) {
		s.phase[i], s.place[i] = inside, true
		return
	}
	s.locked()
	s.q.SlowLocked()
	if cut == 1 {
		return
	}
	if (s.p.mutant != "bare counts" || s.readers == 0) && s.q.FitsLocked(m, 0, 0) {
		for j := range actors { // no process who waits for long is passed
			if s.phase[j] != waiting || j == i {
				continue
			}
			if r := &s.recs[2*j]; !r.Passed() && r.State().Mode().Conflicts(m) && s.q.Now-r.Since.Load() >= uint64(waitqueue.Patience) {
				s.err = fmt.Errorf("actor %d goes before %d, which has waited for its patience", i, j)
			}
		}
		s.place[i] = s.q.PlaceLocked(s.hold(i))
		if !s.place[i] {
			s.enter(2*i, waitqueue.Held, m, 0, s.ticket(), cut)
		}
		s.phase[i] = inside
	} else {
		s.enter(2*i, waitqueue.Waiting, m, 0, s.ticket(), cut)
		s.phase[i] = waiting
	}
	if cut == 0 {
		s.q.CallLocked()
	}
}

// look is what a waiter does when it runs.
func (s *scene) look(i, cut int) {
	n := 2 * i
	own := waitqueue.Ref(0)
	if s.phase[i] == rising {
		n, own = 2*i+1, s.own(i)
	}
	if s.p.mutant == "hand-over" && s.recs[n].State().Kind() == waitqueue.Held {
		s.phase[i], s.place[i] = inside, false
		return
	}
	s.locked()
	s.q.ComeLocked(&s.recs[n])
	if (s.p.mutant != "bare counts" || s.readers == 0) && s.q.FitsLocked(s.recs[n].State().Mode(), waitqueue.Ref(n+1), own) {
		switch {
		case own == waitqueue.InPlace:
			s.h.Convert(s.hold(i), s.hold(i).In(waitqueue.Exclusive))
			s.leave(n, cut)
		case own != 0:
			s.recs[2*i].Word.Store(uint64(s.recs[2*i].State().In(waitqueue.Exclusive)))
			s.leave(n, cut)
		case s.q.PlaceLocked(s.hold(i)):
			s.place[i] = true
			s.leave(n, cut)
		default:
			s.recs[n].Since.Store(s.q.Now)
			s.recs[n].Word.Store(uint64(s.recs[n].State().With(waitqueue.Held)))
			s.place[i] = false
		}
		s.phase[i] = inside
	}
	if cut == 0 {
		s.q.CallLocked()
	}
}

// give is the first half of Unlock, which is one store.
func (s *scene) give(i int) {
	s.phase[i] = giving
	switch {
	case s.p.mutant == "bare counts" && s.p.modes[i] == waitqueue.Shared && s.place[i] && s.readers > 0:
		s.readers--
	case s.place[i]:
		w := waitqueue.Hold(s.h.Word.Load()) &^ waitqueue.Slow
		if slow, was := s.h.Give(w); !was {
			s.err = fmt.Errorf("actor %d gives back what it does not hold", i)
		} else if !slow {
			s.rest(i)
		}
	default:
		s.recs[2*i].Word.Store(uint64(s.recs[2*i].State().With(waitqueue.Gone)))
	}
}

// call is the second half of Unlock.
func (s *scene) call(i, cut int) {
	s.locked()
	if !s.place[i] {
		s.leave(2*i, cut)
	}
	if s.p.mutant == "hand-over" {
		for n := range s.recs {
			if st := s.recs[n].State(); st.Kind() == waitqueue.Waiting && s.q.FitsLocked(st.Mode(), waitqueue.Ref(n+1), 0) {
				s.recs[n].Word.Store(uint64(st.With(waitqueue.Held))) // to one that sleeps
				break
			}
		}
	}
	if cut == 0 {
		s.q.CallLocked()
	}
	s.rest(i)
}

func (s *scene) rest(i int) {
	s.place[i] = false
	if s.round[i]++; s.round[i] >= 2 {
		s.phase[i] = through
		return
	}
	s.phase[i] = away
}

// rise asks for the stronger mode.
func (s *scene) rise(i, cut int) {
	s.locked()
	s.q.SlowLocked()
	m := waitqueue.Exclusive
	switch own := s.own(i); {
	case s.q.UpgradingLocked(s.p.modes[i], m):
		s.phase[i] = giving // it lets go instead
		s.give(i)
	case s.q.FitsLocked(m, waitqueue.First, own):
		if own == waitqueue.InPlace {
			s.h.Convert(s.hold(i), s.hold(i).In(m))
		} else {
			s.recs[2*i].Word.Store(uint64(s.recs[2*i].State().In(m)))
		}
		s.phase[i] = inside
	default:
		s.enter(2*i+1, waitqueue.Waiting, m, waitqueue.Upgrading, 0, cut)
		s.recs[2*i+1].Extra.Store(uint64(own))
		s.phase[i] = rising
	}
	if cut == 0 {
		s.q.CallLocked()
	}
}

// die ends the actor; it leaves what there is.
func (s *scene) die(i int, inMutex bool) {
	s.phase[i], s.deaths = dead, s.deaths+1
	s.dirty = s.dirty || inMutex
}

func (s *scene) sweep(i int) {
	s.locked()
	s.q.SweepLocked(i, rowOf, func(waitqueue.Mode, uint32) {})
	s.q.CallLocked()
	s.phase[i] = gone
}

// mode is how an actor holds the lock now, as it thinks.
func (s *scene) mode(i int) waitqueue.Mode {
	if s.phase[i] != inside && s.phase[i] != rising {
		return waitqueue.None
	}
	if !s.place[i] {
		return s.recs[2*i].State().Mode()
	}
	if s.p.mutant == "bare counts" && s.p.modes[i] == waitqueue.Shared {
		return waitqueue.Shared
	}
	return waitqueue.Hold(s.h.Word.Load()).Mode()
}

func (s *scene) check() {
	for i := range actors {
		for j := range i {
			if s.mode(i).Conflicts(s.mode(j)) {
				s.err = fmt.Errorf("actors %d (%v) and %d (%v) are in at once", i, s.mode(i), j, s.mode(j))
			}
		}
	}
}
