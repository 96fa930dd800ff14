//go:build linux && failpoint

package logcache_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

func init() { proctest.Register("victim", victim) }

// victim arms itself and works: DIR HANDLE BOOK SCENARIO PLAN. Book is a segment in which it counts its steps.
func victim(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	attach := func(text string) (*dsm.Segment, error) {
		h, err := dsm.ParseHandle(text)
		if err != nil {
			return nil, err
		}
		return s.Attach(ctx, s.Owner(), h)
	}
	g, err := attach(p.Args[1])
	if err != nil {
		return err
	}
	book, err := attach(p.Args[2])
	if err != nil {
		return err
	}
	done, err := shm.At[atomic.Uint64](book.Region(), 0)
	if err != nil {
		return err
	}
	if p.Args[3] == "create" {
		if err := failpoint.Arm(p.Args[4]); err != nil {
			return err
		}
		_, err := logcache.Create(g.Region(), s.Self(), logcache.Options{})
		return err
	}
	c, err := logcache.Attach(g.Region(), s.Self(), logcache.Options{})
	if err != nil {
		return err
	}
	if p.Args[3] == "garbled" { // a row that cannot be
		garbleRow(c, g.Region())
	}
	if err := failpoint.Arm(p.Args[4]); err != nil {
		return err
	}
	for n, st := range script() {
		if err := st.on(c); err != nil {
			return fmt.Errorf("step %d, %+v: %w", n, st, err)
		}
		done.Add(1)
	}
	return nil
}

func garbleRow(c *logcache.Cache, r shm.Region) {
	at := logcache.Parts(c)[3] + 5*32
	logcache.WordsOf(r)[at/8].Store(77)
	logcache.Dirty(c)
}

// step is one change, so that after a death each key is as after some step or the next.
type step struct {
	what string
	k, n int
}

// script comes to every point that a process can come to that uses a cache of 1 MiB.
func script() (list []step) {
	for k := range 9000 {
		list = append(list, step{"set", k, 20 + k%30})
		if k%5 == 0 {
			list = append(list, step{"get", k - k%7, 0}, step{"set", k - k%11, 50})
		}
		if k%17 == 0 {
			list = append(list, step{"delete", k - 3, 0})
		}
		switch {
		case k%300 == 7:
			list = append(list, step{"load", k - 1, 70}, step{"load", k - 2, 20_000}, step{"overtaken", k - 3, 33}, step{"deleted", k - 4, 0}, step{"fail", k, 0})
		case k == 3000:
			list = append(list, step{"resize", k, -12})
		case k == 6000:
			list = append(list, step{"resize", k, 0})
		case k == 8400:
			list = append(list, step{"purge", k, 0})
		}
		if k%1500 == 1 {
			list = append(list, step{"set", k, 30_000}, step{"set", k, 20_000}, step{"set", k, 10})
		}
	}
	return list
}

func (s step) on(c *logcache.Cache) (err error) {
	switch s.what {
	case "set":
		return c.Set(ctx, name(s.k), text(s.k, s.n, s.n), 0)
	case "delete":
		_, err = c.Delete(ctx, name(s.k))
	case "load", "overtaken", "deleted", "fail":
		l, mine, err := c.Claim(ctx, name(s.k), false)
		switch {
		case err != nil || !mine:
			return errors.Join(err, errors.New("the load is another's"))
		case s.what == "fail":
			return c.Fail(ctx, l, logcache.Failed, "no bread")
		case s.what == "deleted":
			if _, err := c.Delete(ctx, name(s.k)); err != nil {
				return err
			}
		case s.what == "overtaken":
			if err := c.Set(ctx, name(s.k), text(s.k, s.n, s.n), 0); err != nil {
				return err
			}
		}
		done, err := c.Put(ctx, name(s.k), logcache.Entry{Value: text(s.k, 0, s.n)}, logcache.During(l))
		if err == nil && done != (s.what == "load") {
			err = fmt.Errorf("%s: stored %v", s.what, done)
		}
		return err
	case "resize":
		limit := logcache.Parts(c)[7]
		return c.Resize(ctx, limit+s.n*logcache.Extent(c), logcache.Room{})
	case "purge":
		return c.Purge(ctx)
	case "get":
		_, _, err = c.Get(name(s.k), nil)
	}
	return err
}

// TestKilledInside kills a session at every point inside the cache, at the first, the third and the 40th time that it
// comes there. What the survivor finds was set by the last step of its key, or the one that was cut short; it verifies
// the cache, and goes on with it.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for _, scenario := range []string{"work", "repair", "garbled", "create"} {
		at := proctest.Traced(t, scenario, func(t *testing.T, plan string) { kill(t, "mmap", scenario, plan) })
		at = slices.DeleteFunc(at, func(p string) bool { return !strings.HasPrefix(p, "logcache/") })
		slices.Sort(at)
		for _, p := range at {
			if reached[p] {
				continue
			}
			reached[p] = true
			for _, nth := range []int{1, 3, 40} {
				for _, backend := range []string{"posix", "sysv", "mmap"} {
					if backend != "mmap" && nth > 1 || testing.Short() && (backend != "mmap" || nth > 1) {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%d", backend, scenario, p, nth), func(t *testing.T) {
						t.Parallel()
						kill(t, backend, scenario, fmt.Sprintf("%s#%d=kill", p, nth))
					})
				}
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points here, %d in all", len(points), len(reached))
}

func kill(t *testing.T, backend, scenario, plan string) {
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g, err := s.Create(ctx, s.Owner(), 1<<20)
	must(t, err)
	book, err := s.Create(ctx, s.Owner(), 64)
	must(t, err)
	done, err := shm.At[atomic.Uint64](book.Region(), 0)
	must(t, err)
	args := []string{cfg.Dir, g.Handle().String(), book.Handle().String()}
	var c *logcache.Cache
	if scenario != "create" {
		c, err = logcache.Create(g.Region(), s.Self(), logcache.Options{})
		must(t, err)
	}
	run := func(scenario, plan string) {
		v := proctest.Start(t, "victim", append(args, scenario, plan)...)
		must(t, v.Perish(plan, strings.Contains(plan, "#1=")))
	}
	if scenario == "repair" { // for the victim to come who dies in turn
		run("work", "logcache/move/counted#900=kill")
		done.Store(0)
	}
	run(scenario, plan)
	if scenario == "create" {
		if c, err = logcache.Attach(g.Region(), s.Self(), logcache.Options{}); err != nil { // not laid out, or not named yet
			return
		}
	}
	matches(t, c, int(done.Load()), scenario == "repair")
	rep := clean(t, c)
	for k := range 9000 { // what the dead was loading is another's to load
		if k%300 > 7 {
			continue
		}
		l, mine, err := c.Claim(ctx, name(k), false)
		must(t, err)
		if !mine {
			t.Errorf("key %d is still being loaded by the dead", k)
		}
		must(t, c.Abandon(ctx, l))
	}
	before := c.Stats()
	for k := range 2000 {
		must(t, c.Set(ctx, name(k), text(k, 60, 60), 0))
		v, found, err := c.Get(name(k), nil)
		must(t, err)
		if !found || check(k, v) != nil {
			t.Fatalf("key %d just set: %v", k, found)
		}
	}
	after := clean(t, c)
	if scenario != "garbled" && before.Lost != 0 {
		t.Errorf("%d records are lost", before.Lost)
	}
	if after.Entries < 2000 || rep.Log != after.Log && after.Index == rep.Index {
		t.Errorf("%+v, then %+v", rep, after)
	}
	must(t, g.Detach())
	must(t, book.Detach())
}

// matches compares what is found with what the first n steps have set; the next one may have been done, too. An
// earlier run of the same steps may have left what this one has not yet set.
func matches(t *testing.T, c *logcache.Cache, n int, earlier bool) {
	t.Helper()
	latest, next, any := map[int]int{}, map[int]int{}, map[int]map[int]bool{}
	for i, s := range script() {
		if s.what == "get" || s.what == "fail" || s.what == "resize" || s.what == "purge" {
			continue
		}
		size := s.n
		if s.what == "delete" || s.what == "deleted" {
			size = -1
		}
		if i < n {
			latest[s.k] = size
		} else if i == n {
			next[s.k] = size
		}
		if any[s.k] == nil {
			any[s.k] = map[int]bool{}
		}
		any[s.k][max(size, 12)] = true
	}
	for k := range 9000 {
		v, found, err := c.Get(name(k), nil)
		must(t, err)
		if !found {
			continue
		}
		must(t, check(k, v))
		size, set := latest[k]
		if set && len(v) == max(size, 12) || earlier && any[k][len(v)] {
			continue
		}
		if size, is := next[k]; !is || len(v) != max(size, 12) {
			t.Errorf("key %d has %d bytes after %d steps; set to %d, %v", k, len(v), n, size, set)
		}
	}
}
