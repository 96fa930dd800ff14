package parts

import (
	"fmt"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
)

func init() { side.Register("segments/reserved", createReserved) }

// reserved is segments in the region that min_dynamic_shared_memory has made at the start.
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

const whyMain = "PostgreSQL does not zero what it hands out (30 ns), and its lock and list die with their holder: " +
	"all processes are restarted then. Ours are two sections of 40 ns under a lock that is taken over, with the " +
	"intent in a row of its own, and an owner that ends the attachment"

// createReserved: SIZE HELD. So many others are attached all the while.
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
