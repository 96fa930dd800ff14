//go:build linux && failpoint

package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
)

func init() { proctest.Register("victim", victim) }

// victim arms itself, opens the table, and does everything that there is to do: DIR PLAN SCENARIO.
func victim(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := failpoint.Arm(p.Args[1]); err != nil {
		return err
	}
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{DeadlockAfter: -1})
	if err != nil {
		return err
	}
	if p.Args[2] == "many" {
		return many(x, 36_000, 1)
	}
	return work(x, true)
}

// hot are the names that all who work fight for.
var hot = [][]string{{"a"}, {"b"}, {"layers", "x"}, {"layers"}, {"layers", strings.Repeat("long", 20)}}

// work locks and unlocks in every way.
func work(x *locktable.Table, all bool) error {
	c, o := x.As(ctx, "works")
	defer o.Done()
	for round := range 60 {
		for i, path := range hot {
			m := locktable.Exclusive
			if (round+i)%2 == 0 {
				m = locktable.Shared
			}
			short, cancel := context.WithTimeout(ctx, time.Duration(round%4)*300*time.Microsecond)
			if h, err := x.Lock(short, m, path...); err == nil {
				if err := h.Unlock(); err != nil {
					cancel()
					return err
				}
			}
			cancel()
			h, err := x.Lock(ctx, m, path...)
			if err != nil {
				return err
			}
			time.Sleep(20 * time.Microsecond)
			if m == locktable.Shared {
				short, cancel := context.WithTimeout(ctx, time.Millisecond)
				if err := h.Upgrade(short, locktable.Exclusive); err == nil {
					if _, err := h.Changed(); err != nil {
						cancel()
						return err
					}
				} else if !errors.Is(err, locktable.ErrUpgrade) && short.Err() == nil {
					cancel()
					return err
				}
				cancel()
			} else if err := h.Downgrade(locktable.Shared); err != nil {
				return err
			}
			if err := h.Unlock(); err != nil {
				return err
			}
		}
		hs, err := x.LockMany(c, locktable.Want{locktable.Exclusive, hot[0]}, locktable.Want{locktable.Shared, hot[1]}, locktable.Want{locktable.Shared, hot[2]})
		if err != nil {
			return err
		}
		if err := hs.Unlock(); err != nil {
			return err
		}
		n, err := x.Name(ctx, hot[round%3]...)
		if err != nil {
			return err
		}
		h, err := n.Lock(ctx, locktable.Exclusive)
		if err != nil {
			return err
		}
		if err := h.Unlock(); err != nil {
			return err
		}
		n.Release()
	}
	if !all {
		return nil
	}
	return many(x, 4000, 2)
}

// many locks more names than there is room for at first, all at once, then none, and others again.
func many(x *locktable.Table, n, rounds int) error {
	for round := range rounds {
		var held locktable.Holds
		for k := range n {
			name := fmt.Sprintf("%s name %d of round %d", strings.Repeat("x", 40*(k%50/49)), k, round)
			h, err := x.Lock(ctx, locktable.Exclusive, name)
			if err != nil {
				return err
			}
			held = append(held, h)
		}
		if err := held.Unlock(); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledInside kills a session at every point inside the table. The survivor, which fights for the same names, gets
// every lock, and what the table has is whole.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	more, err := failpoint.Points("../shm/roster")
	must(t, err)
	points = append(points, more...)
	reached := map[string]bool{}
	for _, scenario := range []string{"work", "create", "sweep", "repair", "many"} {
		at := proctest.Traced(t, scenario, func(t *testing.T, plan string) { kill(t, scenario, plan) })
		at = slices.DeleteFunc(at, func(p string) bool {
			return !strings.HasPrefix(p, "locktable/") && !strings.HasPrefix(p, "roster/")
		})
		slices.Sort(at)
		for _, p := range at {
			if reached[p] {
				continue
			}
			reached[p] = true
			for _, nth := range []int{1, 7} {
				if testing.Short() && nth > 1 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", scenario, p, nth), func(t *testing.T) {
					t.Parallel()
					kill(t, scenario, fmt.Sprintf("%s#%d=kill", p, nth))
				})
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points here, %d reached", len(points), len(reached))
}

func kill(t *testing.T, scenario, plan string) {
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	var x *locktable.Table
	open := func() {
		var err error
		x, err = locktable.Open(ctx, s, "locks", locktable.Options{DeadlockAfter: -1})
		must(t, err)
	}
	run := func(plan string) {
		v := proctest.Start(t, "victim", cfg.Dir, plan, scenario)
		must(t, v.Perish(plan, strings.Contains(plan, "#1=") && scenario != "sweep"))
	}
	var wg sync.WaitGroup
	switch scenario {
	case "work":
		open()
		wg.Go(func() {
			for range 3 {
				if err := work(x, false); err != nil {
					t.Error(err)
				}
			}
		})
	case "sweep": // the next one in the row finds what this one has left
		v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "layers", "x")
		v.Expect("in")
		v.Kill()
	case "repair":
		run("locktable/forget/nameless#20=kill")
	}
	run(plan)
	wg.Wait()
	if x == nil {
		open()
	}
	c, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, path := range hot {
		h, err := x.Lock(c, locktable.Exclusive, path...)
		must(t, err)
		must(t, h.Repaired())
		must(t, h.Unlock())
	}
	must(t, x.RepairedAll(c))
	must(t, work(x, true))
	for i := range x.List() {
		t.Errorf("%s: %+v", i.Name(), i)
	}
	must(t, x.Collect())
	owned, err := x.Owned()
	must(t, err)
	rep, err := x.Area().Verify(ctx)
	must(t, err)
	for _, p := range rep.Problems {
		t.Error(p)
	}
	if rep.Objects != owned {
		t.Errorf("the area has %d objects, and the table owns %d", rep.Objects, owned)
	}
	x.Close()
}
