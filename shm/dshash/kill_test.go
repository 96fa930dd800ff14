package dshash_test

import (
	"errors"
	"flag"
	"fmt"
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

// TestKilledUnderLimit kills processes at any instruction while they and others fill an area with a limit, update what
// is in it, and empty it again. No update of the same size is refused, every value is whole, the area has the objects of
// the tables and of the words, and not one more; and when all is emptied nothing stays.
func TestKilledUnderLimit(t *testing.T) {
	n := *kills
	if testing.Short() {
		n = min(n, 3)
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		const limit = 12 << 20
		w, args := makeWorld(t, backend, dsa.Options{Limit: limit, Keep: -1, Sessions: 64}, 4)
		words, err := w.area.AllocZeroed(fillers * placesEach * 8)
		must(t, err)
		var places []dsa.Place
		for k := range fillers * placesEach {
			at, err := w.area.Place(words, k*8)
			must(t, err)
			places = append(places, at)
		}
		before := stats(t, w.area)
		var running [fillers]*proctest.Process
		start := func(i, seed int) {
			running[i] = proctest.Start(t, "filler",
				append(args, fmt.Sprint(uint64(words)), strconv.Itoa(i), strconv.Itoa(seed))...)
			running[i].Expect("on")
		}
		peak := int64(0)
		look := func() {
			t.Helper()
			peak = max(peak, w.area.Total())
			objects := 1
			for _, at := range places {
				if at.Pointer() != 0 {
					objects++
				}
			}
			n, entries := 0, clean(t, w.area, objects, w.tab, w.bs)
			for x, err := range w.tab.All(ctx) {
				must(t, errors.Join(err, x.Value.check()))
				n++
			}
			for x, err := range w.bs.All(ctx) {
				must(t, errors.Join(err, checkSum(x.Value)))
				n++
			}
			if n != entries {
				t.Errorf("%d entries are there, and %d counted", n, entries)
			}
		}
		for i := range running {
			start(i, i)
		}
		for kill := range n {
			i := kill % fillers
			running[i].Kill()
			others := []*proctest.Process{running[(i+1)%fillers], running[(i+2)%fillers]}
			for _, p := range others {
				p.Send("rest %d", kill)
			}
			for _, p := range others {
				p.Expect("rest")
			}
			look()
			for _, p := range others {
				p.Send("on")
			}
			start(i, kill+100)
		}
		for _, p := range running {
			p.Kill()
		}
		look()
		for k := range uint64(3000) {
			_, err := w.tab.Delete(ctx, k)
			_, berr := w.bs.Delete(ctx, name(k))
			must(t, errors.Join(err, berr))
		}
		for _, at := range places {
			if at.Pointer() != 0 {
				must(t, w.area.FreeFrom(at))
			}
		}
		must(t, w.area.Trim(ctx))
		if now := stats(t, w.area); now.Used > before.Used+200<<10 {
			t.Errorf("%d bytes are used in the end, and %d were in the beginning", now.Used, before.Used)
		}
		t.Logf("%d kills; at most %d of %d bytes", n+fillers, peak, limit)
		must(t, w.area.Free(words))
		w.end(t)
	})
}
