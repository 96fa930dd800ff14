package dshash_test

import (
	"flag"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

var kills = flag.Int("kills", 30, "how many processes TestKilledUnderLoad kills on each backend")

// TestKilledUnderLoad kills processes at any instruction while they and others work on the same tables. The others
// go on; every value is whole; whatever was in the hands of the dead is in the tables or freed: the area has their
// objects, and not one more.
func TestKilledUnderLoad(t *testing.T) {
	n := *kills
	if testing.Short() {
		n = min(n, 3)
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		w, args := makeWorld(t, backend, dsa.Options{Keep: -1, Sessions: 64}, 2)
		var burners [3]*proctest.Process
		start := func(i, seed int) {
			burners[i] = proctest.Start(t, "burner", append(args, strconv.Itoa(seed))...)
			burners[i].Expect("on")
		}
		for i := range burners {
			start(i, i)
		}
		for kill := range n {
			i := kill % len(burners)
			burners[i].Kill()
			for k, b := range burners {
				if k != i {
					b.Send("rest %d", kill)
				}
			}
			for k, b := range burners {
				if k != i {
					b.Expect("rest")
				}
			}
			w.whole(t)
			clean(t, w.area, 0, w.tab, w.bs)
			for k, b := range burners {
				if k != i {
					b.Send("on")
				}
			}
			start(i, kill+100)
		}
		for _, b := range burners {
			b.Kill()
		}
		w.whole(t)
		clean(t, w.area, 0, w.tab, w.bs)
		w.end(t)
	})
}
