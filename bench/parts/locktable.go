package parts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
)

const (
	lockFile     = "containers/storage lockfile"
	podmanLock   = "podman's shm lock"
	advisoryLock = Postgres + " advisory"
)

// heldLocks is how many names are held while they are listed.
const heldLocks = 100_000

// lockTable compares package locktable with lock files, which is what programs that share a disk have, and with locks that
// know one machine or one server. But for what two processes do at once it is the processor time of a lock and its unlock:
// a store does other things meanwhile, and others' use of the machine changes it less than walls.
func lockTable(r Rivals) (list []figure.Figure) {
	add := func(f figure.Figure) { f.Part = "locktable"; list = append(list, f) }
	file := func(atMost float64) figure.Contender {
		return goal(goSide(lockFile, "lockfile/pairs", lockFile, r.Dir), atMost)
	}
	other := func(name string) figure.Contender { return goSide(name, "lockfile/pairs", name, r.Dir) }
	lwlock := func(atMost float64) figure.Contender {
		return why(goal(goSide("LWLock", "locktable/LWLock"), atMost), "it has no name, no list of holders, no order, no modes")
	}
	ours := func(how string, parts int) figure.Contender {
		return goSide(figure.Ours, "locktable/pairs", how, parts)
	}
	rest := []figure.Contender{other("flock"), other("OFD"), other("a file for each name"), {Rival: podmanLock, Open: needsCgo},
		{Rival: advisoryLock, Open: r.advisory}}

	add(figure.Figure{Shape: "kept name of one part, CPU", Sides: []figure.Contender{ours("kept", 1), lwlock(2)}})
	add(figure.Figure{Shape: "kept name of two parts, CPU", Sides: []figure.Contender{ours("kept", 2), lwlock(4)}})
	add(figure.Figure{Shape: "name of 71 bytes, in use before, CPU",
		Sides: append([]figure.Contender{ours("named", 1), file(1.0 / 40)}, rest...)})
	add(figure.Figure{Shape: "another name each time, CPU", Sides: []figure.Contender{ours("new", 1), file(1.0 / 15)}})
	add(figure.Figure{Shape: "40 names at once, CPU", Sides: []figure.Contender{ours("many", 1),
		why(file(1), "it is one lock; these are forty, each with its holder and its order")}})
	add(figure.Figure{Shape: fmt.Sprintf("list %d locks that are held, CPU", heldLocks), Max: 50e6,
		Sides: []figure.Contender{goSide(figure.Ours, "locktable/list", heldLocks)}})
	if len(pins()) > 1 {
		two := func(what string) []figure.Contender {
			sides := []figure.Contender{goSide(figure.Ours, "locktable/two", figure.Ours, r.Dir, what)}
			for _, name := range []string{lockFile, "flock", "OFD"} {
				sides = append(sides, why(goSide(name, "locktable/two", name, r.Dir, what),
					"each pair is a system call, in which the other process gets its turn"))
			}
			return sides
		}
		rate := two("rate")
		rate[1] = goal(rate[1], 1.0/15)
		add(figure.Figure{Shape: "two processes on one name", Pin: side.Diff, Sides: rate})
		add(figure.Figure{Shape: "two processes on one name: of all, the faster one's", Pin: side.Diff, Unit: figure.Percent, Max: 60,
			Sides: two("share")})
	}
	return list
}

// needsCgo says why podman's lock is not measured here.
func needsCgo(context.Context, side.Pin, time.Duration) (side.Side, error) {
	return nil, errors.New("it is C of podman's own module, a robust pthread mutex by number, and this program has no cgo; " +
		"measured once with cgo it took 1/39 to 1/48 of a lock file")
}

func (r Rivals) advisory(ctx context.Context, _ side.Pin, target time.Duration) (side.Side, error) {
	return r.Postgres.Advisory(ctx, target)
}
