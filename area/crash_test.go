//go:build linux && failpoint

package area_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

func init() { proctest.Register("victim", victim) }

// into allocates n bytes for one of the places of the ledger, which is the object p, in the place of what is there.
func (l ledger) into(a *dsa.Area, p dsa.Pointer, i, n int) error {
	at, err := a.Place(p, i*8)
	if err == nil && at.Pointer() != 0 {
		err = a.FreeFrom(at)
	}
	if err == nil {
		err = a.AllocInto(n, at)
	}
	return err
}

// victim arms itself and plays: DIR HANDLE LEDGER SCENARIO PLAN.
func victim(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	h, err := dsm.ParseHandle(c.Args[1])
	if err != nil {
		return err
	}
	var p dsa.Pointer
	if _, err := fmt.Sscan(c.Args[2], (*uint64)(&p)); err != nil {
		return err
	}
	if c.Args[3] != "work" {
		if err := failpoint.Arm(c.Args[4]); err != nil {
			return err
		}
	}
	if c.Args[3] == "own" {
		return ownArea(s)
	}
	a, err := area.Attach(ctx, s, s.Owner(), h)
	if err != nil {
		return err
	}
	if c.Args[3] == "work" {
		if err := settle(a, 100, 8000); err != nil {
			return err
		}
		if err := failpoint.Arm(c.Args[4]); err != nil {
			return err
		}
	}
	l, err := ledgerAt(a, p)
	if err != nil {
		return err
	}
	if err := work(a, p, l); err != nil {
		return err
	}
	return a.Detach()
}

func ownArea(s *dsm.Session) error {
	a, err := area.Create(ctx, s, s.Owner(), options)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := a.Alloc(1 << 20); err != nil {
			return err
		}
	}
	return a.Detach()
}

// options make an area that grows and shrinks often.
var options = dsa.Options{Initial: 1 << 20, Keep: -1, Sessions: 8}

var sizes = []int{100, 8000, 8000, 30_000, 8000, 100_000, 8000, 400_000}

// settle has a session allocate so many objects of some sizes that it has spans for them to itself from then on.
func settle(a *dsa.Area, sizes ...int) error {
	for _, n := range sizes {
		for range 10 * (64 << 10) / n {
			p, err := a.Alloc(n)
			if err == nil {
				err = a.Free(p)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// work comes to every point that a session can come to that uses an area.
func work(a *dsa.Area, p dsa.Pointer, l ledger) error {
	for i := range 2 * (gifts - places) {
		if err := l.into(a, p, places+i%(gifts-places), sizes[i/2%len(sizes)]); err != nil {
			return err
		}
	}
	for i := gifts; i < entries; i += 2 {
		if err := l.free(a, i); err != nil {
			return err
		}
	}
	for i := range 160 {
		if err := l.alloc(a, i, sizes[i%len(sizes)]); err != nil {
			return err
		}
	}
	for i := 160; i < 160+560; i++ { // more full spans than a session keeps
		if err := l.alloc(a, i, 8000); err != nil {
			return err
		}
	}
	for i := gifts + 1; i < entries; i += 2 {
		if err := l.free(a, i); err != nil {
			return err
		}
	}
	for i := 0; i < places; i += 3 {
		if err := l.free(a, i); err != nil {
			return err
		}
	}
	if err := a.Trim(ctx); err != nil {
		return err
	}
	for i := range 700 {
		if err := l.free(a, i); err != nil {
			return err
		}
	}
	return crowded(a, l)
}

// crowded has the area refuse to grow, so that spans are taken from the session that does not use them.
func crowded(a *dsa.Area, l ledger) error {
	if err := a.SetLimit(ctx, a.Total()); err != nil {
		return err
	}
	for k, size := range []int{8000, 100, 30_000, 400_000} {
		for i := k * 150; ; i++ {
			err := l.alloc(a, i, size)
			if errors.Is(err, dsa.ErrLimit) {
				break
			}
			if err != nil {
				return err
			}
			if i == k*150+149 {
				break
			}
		}
	}
	if err := a.SetLimit(ctx, 0); err != nil {
		return err
	}
	for i := range 600 {
		if err := l.free(a, i); err != nil {
			return err
		}
	}
	return nil
}

// prepare leaves spans of all kinds, with gifts in them: some that are the survivor's, some that are
// no process's, full and with room.
func prepare(t *testing.T, cfg dsm.Config, survivor *dsa.Area) (p dsa.Pointer, l ledger) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := survivor.AllocZeroed(entries * 8)
	must(err)
	l, err = ledgerAt(survivor, p)
	must(err)
	other := instancetest.Open(t, cfg)
	a, err := area.Attach(ctx, other, other.Owner(), area.Handle(survivor))
	must(err)
	for i := range 60 {
		from := a
		if i%3 == 0 {
			from = survivor
		}
		must(l.alloc(from, gifts+i, sizes[i%len(sizes)]))
		if i < gifts-places {
			must(l.into(from, p, places+i, sizes[i%len(sizes)]))
		}
	}
	for i := 60; i < 200; i++ {
		must(l.alloc(a, gifts+i, 8000))
	}
	for i := gifts; i < gifts+60; i += 7 {
		must(l.free(a, i))
	}
	must(a.Detach())
	must(settle(survivor, 700, 3000)) // spans that the survivor has to itself, and nothing in them
	return p, l
}

// TestKilledInside kills a session at every point inside the allocator, at the first, third and last-but-some time
// it comes there; the others go on, and nothing but what was in its hands is missing, and nothing is left.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points("../shm/dsa")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for _, scenario := range []string{"work", "repair", "own"} {
		at := proctest.Traced(t, scenario, func(t *testing.T, plan string) { play(t, scenario, plan) })
		at = slices.DeleteFunc(at, func(p string) bool { return !strings.HasPrefix(p, "dsa/") })
		slices.Sort(at)
		for _, p := range at {
			if scenario == "repair" && reached[p] && !strings.Contains(p, "list") && !strings.Contains(p, "run") {
				continue
			}
			reached[p] = true
			for _, nth := range []int{1, 3, 17} {
				t.Run(fmt.Sprintf("%s/%s/%d", scenario, p, nth), func(t *testing.T) {
					t.Parallel()
					play(t, scenario, fmt.Sprintf("%s#%d=kill", p, nth))
				})
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points: %v", len(points), slices.Sorted(maps.Keys(reached)))
}

func play(t *testing.T, scenario, plan string) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), options)
	if err != nil {
		t.Fatal(err)
	}
	p, l := prepare(t, cfg, a)
	run := func(scenario, plan string) {
		v := proctest.Start(t, "victim", cfg.Dir, area.Handle(a).String(), fmt.Sprint(uint64(p)), scenario, plan)
		if err := v.Perish(plan, strings.Contains(plan, "#1=")); err != nil {
			t.Fatal(err)
		}
	}
	if scenario == "repair" { // for a process to come who dies in turn
		run("work", "dsa/run/released#5=kill")
	}
	run(scenario, plan)

	if err := a.SetLimit(ctx, 0); err != nil && scenario != "own" {
		t.Fatal(err)
	}
	// Whatever there is, the survivor can allocate and free before any process has looked.
	for i := entries - 40; i < entries; i++ {
		if err := l.alloc(a, i, sizes[i%len(sizes)]); err != nil {
			t.Fatal(err)
		}
	}
	for i := entries - 40; i < entries; i += 2 {
		if err := l.free(a, i); err != nil {
			t.Fatal(err)
		}
	}
	rep := clean(t, a)
	if rep.Objects != l.count()+1 || rep.Sessions != 1 {
		t.Errorf("%d objects, %d in the ledger; %d sessions", rep.Objects, l.count(), rep.Sessions)
	}
	for i := range l {
		if err := l.free(a, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Free(p); err != nil {
		t.Error(err)
	}
	if err := a.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, a); rep.Objects != 0 || rep.Segments != 1 || len(rep.Classes) != 0 {
		t.Errorf("emptied: %+v", rep.Stats)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
	if scenario != "own" {
		instancetest.Eventually(t, "the supervisor has given back the victim's segments",
			func() bool { return instancetest.Objects(t, cfg.Dir) == 0 })
	}
}
