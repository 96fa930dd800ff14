//go:build linux && failpoint

package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
)

// TestStoppedInside stops a session at every point inside the table. A Lock of another one ends with its context, or
// has the lock; so does an Open, and no Unlock waits.
func TestStoppedInside(t *testing.T) {
	points, err := failpoint.Points(".")
	must(t, err)
	reached := map[string]bool{}
	var s stops
	for _, scenario := range []string{"work", "create", "sweep", "repair", "many"} {
		at := proctest.Traced(t, scenario, func(t *testing.T, plan string) { kill(t, scenario, plan) })
		slices.Sort(at)
		for _, p := range slices.Compact(at) {
			if !strings.HasPrefix(p, "locktable/") || reached[p] || testing.Short() && !strings.Contains(p, "attempt") {
				continue
			}
			for _, nth := range []int{3, 1, 1, 1} { // some points are come to once, and some only if the other one is quick
				if reached[p] = s.stop(t, scenario, fmt.Sprintf("%s#%d=stop", p, nth)); reached[p] {
					break
				}
			}
		}
	}
	if !testing.Short() {
		proctest.Reached(t, points, reached)
	}
	t.Logf("stopped at %d of %d points: %d locks had, Unlock took %v at most; %d of Lock ended, %v; %d of Open, %v",
		len(reached), len(points), s.had, s.unlock, len(s.locks), late(s.locks), len(s.opens), late(s.opens))
}

// late says how long after the ends of their contexts calls ended.
func late(list []time.Duration) string {
	if len(list) == 0 {
		return "none late"
	}
	slices.Sort(list)
	return fmt.Sprintf("half of them %v late and %v at most", list[len(list)/2], list[len(list)-1])
}

// stops is what was seen while processes were stopped.
type stops struct {
	had          int
	unlock       time.Duration   // the longest
	locks, opens []time.Duration // from the ends of their contexts to those of the calls
}

// stop stops a victim as the plan says, and reports whether it came to that.
func (s *stops) stop(t *testing.T, scenario, plan string) bool {
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	session := instancetest.Open(t, cfg)
	open := func(within time.Duration) (x *locktable.Table) {
		c, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		due, _ := c.Deadline()
		x, err := locktable.Open(c, session, "locks", locktable.Options{DeadlockAfter: -1})
		if err != nil {
			s.opens = append(s.opens, since(t, plan, err, due))
		}
		return x
	}
	var fighter sync.WaitGroup
	over, end := context.WithCancel(ctx)
	defer fighter.Wait()
	defer end()
	var x *locktable.Table
	switch scenario {
	case "work":
		x = open(time.Minute)
		fighter.Go(func() { fight(over, x) })
	case "sweep": // the next one in the row finds what this one has left
		v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "layers", "x")
		v.Expect("in")
		v.Kill()
	case "repair":
		v := proctest.Start(t, "victim", cfg.Dir, "locktable/forget/nameless#20=kill", scenario)
		must(t, v.Perish("kill", true))
	}
	v := proctest.Start(t, "victim", cfg.Dir, plan, scenario)
	defer v.Kill()
	if !stands(v) {
		return false
	}
	if x == nil {
		x = open(15 * time.Millisecond)
	}
	if x != nil {
		for _, path := range hot {
			s.lock(t, x, plan, path)
		}
	}
	return true
}

// stands waits until a process is stopped, and reports whether it is: not if it has ended.
func stands(v *proctest.Process) bool {
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.Cmd.Process.Pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return false
		}
		if strings.Contains(string(b), ") T ") {
			return true
		}
		time.Sleep(time.Millisecond)
	}
}

// fight locks what the victim locks, until ctx is over.
func fight(ctx context.Context, x *locktable.Table) {
	for i := 0; ctx.Err() == nil; i++ {
		m := locktable.Exclusive
		if i%3 > 0 {
			m = locktable.Shared
		}
		if h, err := x.Lock(ctx, m, hot[i%len(hot)]...); err == nil {
			time.Sleep(20 * time.Microsecond)
			_ = h.Unlock()
		}
	}
}

func (s *stops) lock(t *testing.T, x *locktable.Table, plan string, path []string) {
	c, cancel := context.WithTimeout(ctx, 15*time.Millisecond)
	defer cancel()
	due, _ := c.Deadline()
	h, err := x.Lock(c, locktable.Exclusive, path...)
	if err != nil {
		s.locks = append(s.locks, since(t, plan, err, due))
		return
	}
	s.had++
	began := time.Now()
	must(t, h.Unlock())
	s.unlock = max(s.unlock, time.Since(began))
}

// since returns how long ago the context of a call ended which has failed with it.
func since(t *testing.T, plan string, err error, due time.Time) time.Duration {
	d := time.Since(due)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: %v", plan, err)
	}
	return d
}
