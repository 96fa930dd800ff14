package parts

import (
	"fmt"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
)

func init() { side.Register("segments/reserved", createReserved) }

// reserved returns the figures of segments in the region that min_dynamic_shared_memory has made at the start.
func reserved(r Rivals) (list []figure.Figure) {
	for _, held := range []int{0, 500} {
		const size = 4096
		shape := fmt.Sprintf("create+detach %s, reserved region, %d held", Size(size), held)
		list = append(list, figure.Figure{Part: "segments", Shape: shape, Sides: []figure.Contender{
			goSide(figure.Ours, "segments/reserved", size, held),
			goal(goSide(raw+", posix", "raw/create", "posix", size, r.Dir), 1.0/50),
			why(goal(r.postgres(postgres.Main, "create held", size, held), 1.2), whyMain),
		}})
	}
	return list
}

const whyMain = "it is 19 locked instructions of 5 ns or more, and PostgreSQL's are 6: two sections under a lock " +
	"that is taken over from the dead, with one of this process in front (8), publishing (1), and the locks of " +
	"session, attachment and owner for many goroutines (10); 30 ns more zero the page, which PostgreSQL does not"

// createReserved measures create and detach of a segment of SIZE in the reserved region, while HELD others are attached. Its
// arguments are SIZE HELD.
func createReserved(a side.Args) (*side.Work, error) {
	w, err := newWorld(map[string]string{"min_dynamic_shared_memory": "64MB"})
	if err != nil {
		return nil, err
	}
	for range a.Int(1) {
		if _, err := w.Create(ctx, w.Owner(), a.Int(0)); err != nil {
			return nil, err
		}
	}
	return &side.Work{Run: side.Loop(createLoop(w, a.Int(0))), Close: w.end}, nil
}
