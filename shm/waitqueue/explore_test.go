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
