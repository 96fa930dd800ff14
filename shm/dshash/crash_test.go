//go:build linux && failpoint

package dshash_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func init() { proctest.Register("victim", victim) }

// victim arms itself and works: DIR AREA TABLE BYTES DONE SCENARIO PLAN.
func victim(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	var p dsa.Pointer
	if _, err := fmt.Sscan(c.Args[4], (*uint64)(&p)); err != nil {
		return err
	}
	done, err := dsa.Ref[atomic.Uint64](p).In(w.area)
	if err != nil {
		return err
	}
	dshash.Pace(2)
	if err := failpoint.Arm(c.Args[6]); err != nil {
		return err
	}
	switch scenario := c.Args[5]; scenario {
	case "work", "full":
		for i, do := range script(scenario)[done.Load():] {
			if err := do.on(w); err != nil {
				return fmt.Errorf("step %d, %+v: %w", i, do, err)
			}
			done.Add(1)
		}
	case "repair":
		if _, err := w.tab.Verify(ctx); err != nil {
			return err
		}
		if _, err := w.bs.Verify(ctx); err != nil {
			return err
		}
	case "create":
		at, err := w.area.Place(p, 0)
		if err != nil {
			return err
		}
		_, err = dshash.CreateInto[uint64, sealed](w.area, at, dshash.Options{Partitions: 2})
		return err
	case "destroy":
		if err := w.tab.Destroy(ctx); err != nil {
			return err
		}
		return w.bs.Destroy(ctx)
	}
	return nil
}

// matches reports whether the tables are as after the first n steps. A scan that was cut short may have deleted some.
func (w world) matches(scenario string, n uint64) error {
	all := script(scenario)
	tab, bs := models(scenario, min(n, uint64(len(all))))
	partly := func(bool, uint64) bool { return false }
	if n < uint64(len(all)) {
		s := all[n]
		partly = func(bytes bool, k uint64) bool { return s.what == "scan" && s.bytes == bytes && k%4 < s.k }
	}
	for k := range uint64(130) {
		v, found, err := w.tab.Get(ctx, k)
		if n, there := tab[k]; err != nil || (there != found || found && v != seal(n)) && !partly(false, k) {
			return fmt.Errorf("key %d: %v, %v, %x", k, err, found, v)
		}
		b, found, err := w.bs.Get(ctx, name(k), nil)
		if n, there := bs[k]; err != nil ||
			(there != found || found && string(b) != string(long(n))) && !partly(true, k) {
			return fmt.Errorf("name %d: %v, %v, %d bytes", k, err, found, len(b))
		}
	}
	return nil
}

// TestKilledInside kills a session at every point inside the tables, and inside the allocator for them, at the
// first, third and seventeenth time it comes there. The survivor finds them as before or after the step, goes on
// with them, and nothing is left or missing in the area.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for _, scenario := range []string{
		"work", "full", "redo", "repair", "repair-insert", "repair-resize", "repair-move", "create", "destroy",
	} {
		at := proctest.Traced(t, scenario, func(t *testing.T, plan string) { kill(t, "mmap", scenario, plan) })
		at = slices.DeleteFunc(at, func(p string) bool {
			return !strings.HasPrefix(p, "dshash/") && !strings.HasPrefix(p, "dsa/") ||
				strings.HasPrefix(p, "dsa/detach/")
		})
		slices.Sort(at)
		for _, p := range at {
			again := reached[p] && !strings.HasPrefix(p, "dshash/") && scenario != "work"
			reached[p] = true
			for _, nth := range []int{1, 3, 17} {
				for _, backend := range []string{"posix", "sysv", "mmap"} {
					if backend != "mmap" && (nth > 1 || !strings.HasPrefix(p, "dshash/")) || again && nth > 1 {
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
	w, args := makeWorld(t, backend, dsa.Options{Initial: 256 << 10, Keep: -1, Sessions: 8}, 2)
	ref, done, err := dsa.New[atomic.Uint64](w.area)
	must(t, err)
	// Which of the allocator's points a victim comes to depends on the table's seed.
	run := func(scenario, plan string) {
		v := proctest.Start(t, "victim", append(args, fmt.Sprint(uint64(ref)), scenario, plan)...)
		must(t, v.Perish(plan, strings.HasPrefix(plan, "dshash/") && strings.Contains(plan, "#1=")))
	}
	give := func() {}
	switch scenario {
	case "repair": // a process repairs after this one, and dies in turn
		run("work", "dshash/update/linked#5=kill")
		scenario = "repair"
	case "repair-insert":
		run("work", "dshash/insert/linked#90=kill")
		scenario = "repair"
	case "repair-resize":
		run("work", "dshash/resize/old#9=kill")
		scenario = "repair"
	case "repair-move":
		run("work", "dshash/move/tagged#70=kill")
		scenario = "repair"
	case "full", "redo":
		for i, do := range script("full")[:fullFrom] {
			if err := do.on(w); err != nil {
				t.Fatalf("step %d, %+v: %v", i, do, err)
			}
			done.Add(1)
		}
		give = exhaust(t, w.area)
		if scenario == "redo" { // the next process repairs, in this partition or for another
			run("full", "dshash/overwrite/half#3=kill")
			done.Add(1) // it was decided
		}
		scenario = "full"
	case "destroy":
		run("work", "dshash/delete/passed#7=kill")
	}
	run(scenario, plan)
	if scenario == "repair" {
		scenario = "work"
	}

	switch scenario {
	case "create":
		at, err := w.area.Place(dsa.Pointer(ref), 0)
		must(t, err)
		drop(t, w.area, at)
		must(t, w.tab.Destroy(ctx))
		must(t, w.bs.Destroy(ctx))
	case "destroy":
		finish(t, w)
	default:
		first := w.matches(scenario, done.Load())
		if first != nil {
			if second := w.matches(scenario, done.Load()+1); second != nil {
				t.Errorf("after %d steps: %v; or one more: %v", done.Load(), first, second)
			}
		}
		give()
		for k := range uint64(130) {
			must(t, w.tab.Set(ctx, k, seal(k)))
			must(t, w.bs.Set(ctx, name(k), long(k)))
		}
		clean(t, w.area, 1, w.tab, w.bs)
		w.whole2(t)
		must(t, w.tab.Destroy(ctx))
		must(t, w.bs.Destroy(ctx))
	}
	must(t, ref.Free(w.area))
	clean(t, w.area, 0)
	must(t, w.area.Detach())
	instancetest.Eventually(t, "the supervisor has given back the victim's segments", func() bool {
		return instancetest.Objects(t, args[0]) == 0
	})
}

// finish destroys what is there still of the tables.
func finish(t *testing.T, w world) {
	t.Helper()
	gone := func(err error) bool { return errors.Is(err, dsa.ErrPointer) || errors.Is(err, dshash.ErrNotFound) }
	if tab, err := dshash.Attach[uint64, sealed](w.area, w.tab.Handle(), dshash.Options{}); err == nil {
		must(t, tab.Destroy(ctx))
	} else if !gone(err) {
		t.Error(err)
	}
	if bs, err := dshash.AttachBytes(w.area, w.bs.Handle(), dshash.Options{}); err == nil {
		must(t, bs.Destroy(ctx))
	} else if !gone(err) {
		t.Error(err)
	}
}

// drop frees the table that a word owns, finished or not; if there is one.
func drop(t *testing.T, a *dsa.Area, at dsa.Place) {
	t.Helper()
	if at.Pointer() == 0 {
		return
	}
	tab, err := dshash.Attach[uint64, sealed](a, at.Pointer(), dshash.Options{})
	if err == nil {
		must(t, tab.Set(ctx, 1, seal(1)))
		must(t, tab.Destroy(ctx))
		at.Clear()
		return
	}
	if !errors.Is(err, dshash.ErrNotFound) && !errors.Is(err, dshash.ErrCorrupt) {
		t.Error(err)
	}
	must(t, a.FreeFrom(at))
}

func (w world) whole2(t *testing.T) {
	t.Helper()
	for e, err := range w.tab.Scan(ctx, false) {
		must(t, err)
		if *e.Value() != seal(e.Key()) {
			t.Errorf("key %d: %x", e.Key(), *e.Value())
		}
	}
	if n := w.tab.Len(); n != 130 {
		t.Error(n)
	}
}
