//go:build linux && failpoint

package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dshash"
)

func init() { proctest.Register("victim", victim) }

// victim arms itself and plays: DIR PLAN.
func victim(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := failpoint.Arm(c.Args[1]); err != nil {
		return err
	}
	return work(s)
}

// work comes to every point of the registry.
func work(s *dsm.Session) error {
	var errs []error
	failed := errors.New("failed")
	if _, err := registry.Segment(ctx, s, "x", func(*counter) error { return failed }); !errors.Is(err, failed) {
		errs = append(errs, err)
	}
	_, err := registry.Segment(ctx, s, "x", initOnce)
	errs = append(errs, err)
	a, err := registry.Area(ctx, s, "a", small)
	if err != nil {
		return err
	}
	_, err = a.Alloc(1 << 20)
	errs = append(errs, err, registry.Delete(ctx, s, "x"), registry.Delete(ctx, s, "a"), a.Detach())

	h, err := registry.Hash[int64, int64](ctx, s, "h", dshash.Options{Partitions: 8})
	if err != nil {
		return err
	}
	errs = append(errs, h.Set(ctx, 1, 2), registry.Delete(ctx, s, "h"))
	_, err = registry.Hash[int64, int64](ctx, s, "h", dshash.Options{Partitions: 8})
	errs = append(errs, err)

	owner, err := s.Owner().Child("brief")
	if err != nil {
		return err
	}
	for range 2 { // the second time the row is there, and the segment is not
		_, err = registry.Segment[counter](ctx, s, "brief", nil, registry.Options{Transient: true, Owner: owner})
		errs = append(errs, err, owner.Abort())
		if owner, err = s.Owner().Child("brief"); err != nil {
			return err
		}
	}
	_, err = registry.Segment(ctx, s, "x", initOnce)
	errs = append(errs, err)
	a, err = registry.Area(ctx, s, "a", small)
	if err != nil {
		return err
	}
	_, err = a.Alloc(1 << 20)
	return errors.Join(append(errs, err, a.Detach())...)
}

// TestKilledInside kills a session at every point inside the registry, the first, second and
// fourth time it comes there, alone and where a process has died before it: others find each name
// as it was or make it anew, and nothing is left when all is deleted.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	points = append(points, "control/root/pinned", "dsm/root/made", "dsm/root/found")
	reached := map[string]bool{}
	for _, before := range []string{"", "registry/make/pinned", "registry/area/pinned#1", "registry/drop/unpinned"} {
		at := proctest.Traced(t, before, func(t *testing.T, plan string) { play(t, "posix", before, plan) })
		at = slices.DeleteFunc(at, func(p string) bool { return !slices.Contains(points, p) })
		for i, p := range at {
			reached[p] = true
			for k, nth := range []int{1, 2, 4} {
				if before != "" && (i+k)%3 != 0 && !strings.Contains(p, "orphan") && !strings.Contains(p, "clear") {
					continue
				}
				backend := []string{"posix", "sysv", "mmap"}[(i+k)%3]
				t.Run(fmt.Sprintf("%s/%s/%d/%s", before, p, nth, backend), func(t *testing.T) {
					t.Parallel()
					play(t, backend, before, fmt.Sprintf("%s#%d=kill", p, nth))
				})
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points", len(points))
}

func play(t *testing.T, backend, before, plan string) {
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	run := func(plan string) {
		v := proctest.Start(t, "victim", cfg.Dir, plan)
		if err := v.Perish(plan, strings.Contains(plan, "#1=")); err != nil {
			t.Fatal(err)
		}
	}
	if before != "" {
		run(before + "=kill")
	}
	run(plan)

	s := instancetest.Open(t, cfg)
	c, err := registry.Segment(ctx, s, "x", initOnce)
	if err != nil {
		t.Fatal(err)
	}
	if c.Inits.Load() != 1 {
		t.Errorf("init has run %d times on it", c.Inits.Load())
	}
	a, err := registry.Area(ctx, s, "a", small)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := a.Verify(ctx); err != nil || len(rep.Problems) > 0 || rep.Sessions != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	h, err := registry.Hash[int64, int64](ctx, s, "h", dshash.Options{Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := h.Verify(ctx); err != nil || len(rep.Problems) > 0 || rep.Entries != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	for _, err := range []error{
		registry.Delete(ctx, s, "h"), a.Free(p), a.Detach(), registry.Delete(ctx, s, "x"), registry.Delete(ctx, s, "a"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if got := list(t, s); len(got) != 0 {
		t.Errorf("names are left: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	instancetest.OnlyRoot(t, cfg)
}
