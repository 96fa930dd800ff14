package waitqueue_test

import (
	"fmt"

	"github.com/godsm/godsm/shm/waitqueue"
)

// This file has the steps that can be made in a state, and what must be true once all actors have gone on.

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
