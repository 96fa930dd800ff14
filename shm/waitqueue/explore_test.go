package waitqueue_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/waitqueue"
)

// The explorer runs the code of this package in all interleavings of a few actors that lock, wait, give up, unlock, upgrade,
// are stopped and die, also in the middle of what they do under the mutex. A step is a critical section, or one atomic
// operation outside of them.

// phase is where an actor is.
type phase uint8

const (
	away    phase = iota
	half          // of a mutant: it has taken the word, and not yet said who it is
	waiting       // its record is in the queue
	inside
	rising  // inside, and its record waits for a stronger mode
	giving  // it has given back, and is about to call the next ones
	through // it wants nothing more
	dead
	gone // dead, and swept
)

const actors = 3

// state is all that there is at a moment. It can be copied and compared.
type state struct {
	head    waitqueue.HeadCopy
	recs    [2 * actors]waitqueue.RecordCopy // of actor i: 2i, and 2i+1 for upgrades
	phase   [actors]phase
	place   [actors]bool // it holds in place
	round   [actors]uint8
	now     uint8 // in units of half the patience
	ticks   uint8
	deaths  uint8
	dirty   bool
	tickets uint8
	readers uint8 // of a mutant
}

// plan is what the actors want.
type plan struct {
	name    string
	modes   [actors]waitqueue.Mode
	upgrade [actors]bool
	cancels bool
	deaths  uint8
	ticks   uint8
	stopped int // an actor that does nothing more once it waits; -1: none
	mutant  string
}

var full = flag.Bool("full", false, "all states")

const unit = waitqueue.Patience / 2

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

// move is one that can be made in a state.
type move struct {
	name string
	make func(*scene)
}

// moves are those of a state.
func (p *plan) moves(st *state) (list []move) {
	add := func(i int, name string, f func(*scene, int), cuts int) {
		list = append(list, move{fmt.Sprint(i, " ", name), func(s *scene) { f(s, 0) }})
		if st.deaths < p.deaths {
			for cut := 1; cut <= cuts; cut++ {
				list = append(list, move{fmt.Sprint(i, " dies in ", name, " ", cut), func(s *scene) { f(s, cut); s.die(i, true) }})
			}
		}
	}
	for i := range actors {
		ph := st.phase[i]
		if st.deaths < p.deaths && ph != dead && ph != gone && ph != through {
			list = append(list, move{fmt.Sprint(i, " dies"), func(s *scene) { s.die(i, false) }})
		}
		if i == p.stopped && ph == waiting {
			continue
		}
		switch ph {
		case away:
			add(i, "locks", func(s *scene, cut int) { s.attempt(i, cut) }, 2)
		case half:
			add(i, "says who it is", func(s *scene, _ int) {
				s.h.Convert(waitqueue.HoldOf(-1, p.modes[i], 0, 0), s.hold(i))
				s.phase[i], s.place[i] = inside, true
			}, 0)
		case waiting, rising:
			add(i, "looks", func(s *scene, cut int) { s.look(i, cut) }, 2)
			if p.cancels && ph == waiting {
				add(i, "gives up", func(s *scene, cut int) {
					s.locked()
					s.leave(2*i, cut)
					if cut == 0 {
						s.q.CallLocked()
					}
					s.rest(i)
				}, 2)
			}
		case inside:
			add(i, "unlocks", func(s *scene, _ int) { s.give(i) }, 0)
			if p.upgrade[i] && st.round[i] == 0 {
				add(i, "upgrades", func(s *scene, cut int) { s.rise(i, cut) }, 1)
			}
		case giving:
			add(i, "calls", func(s *scene, cut int) { s.call(i, cut) }, 2)
		case dead:
			list = append(list, move{fmt.Sprint(i, " is swept"), func(s *scene) { s.sweep(i) }})
		}
	}
	if st.ticks < p.ticks {
		list = append(list, move{"time passes", func(s *scene) { s.now += 2; s.ticks++ }})
	}
	return list
}

func (p *plan) run(st *state, m move) error {
	s := &scene{state: st, p: p}
	s.load()
	m.make(s)
	s.check()
	s.store()
	return s.err
}

// settle lets everyone who can run go on until nothing is left to do, in turn: then all are through, but for one that is
// stopped, and the lock is free. Each waiter looks, as it does at intervals.
func (p *plan) settle(st state) error {
	for range 60 {
		st.now += uint8(2 * waitqueue.Grace / waitqueue.Patience)
		for i := range actors {
			var f func(*scene)
			switch st.phase[i] {
			case away, through, gone:
				if st.phase[i] == away {
					st.phase[i] = through // no new one
				}
				continue
			case dead:
				f = func(s *scene) { s.sweep(i) }
			case half:
				f = func(s *scene) {
					p.moves(s.state)
					s.h.Convert(waitqueue.HoldOf(-1, p.modes[i], 0, 0), s.hold(i))
					s.phase[i], s.place[i] = inside, true
				}
			case waiting, rising:
				if i == p.stopped && st.phase[i] == waiting {
					continue
				}
				f = func(s *scene) { s.look(i, 0) }
			case inside:
				f = func(s *scene) { s.give(i) }
			case giving:
				f = func(s *scene) { s.call(i, 0) }
			}
			if err := p.run(&st, move{make: f}); err != nil {
				return err
			}
		}
	}
	stopped := false
	for i := range actors {
		if stopped = stopped || i == p.stopped && st.phase[i] == waiting; st.phase[i] != through && st.phase[i] != gone && !(i == p.stopped && st.phase[i] == waiting) {
			return fmt.Errorf("actor %d is never through: phase %d, word %#x", i, st.phase[i], st.head.Word)
		}
	}
	if !stopped && !st.dirty && (st.head.Word != 0 || st.head.First != 0) {
		return fmt.Errorf("all are through, and the word is %#x, the list begins with %d", st.head.Word, st.head.First)
	}
	return nil
}

// explore goes through all states, and returns how many there are, and what is wrong with the way to it.
func (p *plan) explore(limit int) (states int, err error) {
	type step struct {
		from int
		name string
	}
	all := []state{{}}
	ways := []step{{-1, ""}}
	seen := map[state]bool{{}: true}
	tell := func(i int, last string, err error) error {
		way := last
		for ; i > 0; i = ways[i].from {
			way = ways[i].name + "; " + way
		}
		return fmt.Errorf("%s: %w", way, err)
	}
	for i := 0; i < len(all) && i < limit; i++ {
		if err := p.settle(all[i]); err != nil {
			return i, tell(i, "then everyone goes on", err)
		}
		st := all[i]
		for _, m := range p.moves(&st) {
			next := st
			if err := p.run(&next, m); err != nil {
				return i, tell(i, m.name, err)
			}
			if !seen[next] {
				seen[next] = true
				all = append(all, next)
				ways = append(ways, step{i, m.name})
			}
		}
	}
	return len(all), nil
}

const (
	shared    = waitqueue.Shared
	exclusive = waitqueue.Exclusive
)

// TestExplore: in all interleavings no two are in that exclude each other, no process goes before one that has waited for its
// patience, whatever dies or is stopped all others get through, and the lock is free then.
func TestExplore(t *testing.T) {
	limit := 20_000
	if *full {
		limit = 1_000_000
	}
	for _, p := range []plan{
		{name: "writers", modes: [actors]waitqueue.Mode{exclusive, exclusive, exclusive}, ticks: 1, stopped: -1},
		{name: "two deaths", modes: [actors]waitqueue.Mode{exclusive, exclusive, shared}, deaths: 2, stopped: -1},
		{name: "readers and a writer, a death, cancels", modes: [actors]waitqueue.Mode{shared, shared, exclusive}, deaths: 1, cancels: true, stopped: -1},
		{name: "a stop and a death", modes: [actors]waitqueue.Mode{exclusive, shared, exclusive}, deaths: 1, ticks: 1, stopped: 1},
		{name: "a stop, cancels", modes: [actors]waitqueue.Mode{exclusive, exclusive, exclusive}, cancels: true, ticks: 1, stopped: 2},
		{name: "upgrades", modes: [actors]waitqueue.Mode{shared, shared, exclusive}, upgrade: [actors]bool{true, true, false}, deaths: 1, stopped: -1},
		{name: "intents", modes: [actors]waitqueue.Mode{waitqueue.IntentExclusive, waitqueue.IntentExclusive, shared}, deaths: 1, ticks: 1, stopped: -1},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			n, err := p.explore(limit)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d states in %v", n, time.Since(began))
		})
	}
}

// TestExploreFindsMutants: the three ways in which the protocol was wrong when it was first designed are found.
func TestExploreFindsMutants(t *testing.T) {
	for _, p := range []plan{
		// The holder is in another word than the state: a death between the two is a lock that no process holds, or frees.
		{mutant: "two words", modes: [actors]waitqueue.Mode{exclusive, exclusive, exclusive}, deaths: 1, stopped: -1},
		// Unlock makes the next waiter the holder: one that is stopped has the lock, and everyone waits for it.
		{mutant: "hand-over", modes: [actors]waitqueue.Mode{exclusive, exclusive, exclusive}, stopped: 1},
		// Readers are a number: that of a reader that died stays.
		{mutant: "bare counts", modes: [actors]waitqueue.Mode{shared, shared, exclusive}, deaths: 1, stopped: -1},
	} {
		t.Run(p.mutant, func(t *testing.T) {
			n, err := p.explore(400_000)
			if err == nil {
				t.Fatalf("nothing was found in %d states", n)
			}
			t.Logf("after %d states: %v", n, err)
		})
	}
}
