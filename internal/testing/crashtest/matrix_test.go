//go:build linux && failpoint

package crashtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { arm = failpoint.Arm }

// ways are what can become of a victim at a failpoint.
var ways = []string{"kill", "exit", "stop-kill", "stop-go"}

// elsewhere are points that the matrix's victims need not come to: a test of their own does.
var elsewhere = map[string]string{
	"control/root/pinned": "registry", "dsm/root/made": "registry", "dsm/root/found": "registry",
}

// apart are the packages whose tests come to all their points themselves.
var apart = []string{"dsa/", "dshash/", "logcache/", "mq/", "toc/", "shmsync/", "registry/", "dsmnet/", "locktable/", "roster/", "batch/", "cache/"}

// TestMatrix plays the scenarios for every failpoint.
func TestMatrix(t *testing.T) {
	points, err := failpoint.Points("../../..")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string][]place{} // by point
	t.Run("points", func(t *testing.T) {
		eachPlace(func(at place) {
			for _, p := range at.traced(t) {
				reached[p] = append(reached[p], at)
			}
		})
	})
	everywhere := len(reached) == 0 && proctest.Selected() // -run has chosen a case: no need to know which there are
	if everywhere {
		eachPlace(func(at place) {
			for _, p := range points {
				reached[p] = append(reached[p], at)
			}
		})
	}
	for _, p := range points {
		isApart := slices.ContainsFunc(apart, func(prefix string) bool { return strings.HasPrefix(p, prefix) })
		if len(reached[p]) == 0 && elsewhere[p] == "" && !isApart && !proctest.Selected() {
			t.Errorf("no victim comes to %s", p)
		}
	}
	cases := 0
	for i, p := range slices.Sorted(maps.Keys(reached)) {
		for k, at := range reached[p] {
			for h, how := range ways {
				if !*full && !everywhere && (k != i%len(reached[p]) || h != i%len(ways)) {
					continue
				}
				cases++
				t.Run(fmt.Sprintf("%s/%s/%s/%s", p, at.backend, at.scenario.name, how), func(t *testing.T) {
					t.Parallel()
					at.scenario.run(t, at.backend, p, how)
				})
			}
		}
	}
	if !proctest.Selected() {
		t.Logf("%d points, of which victims come to %d, %d cases", len(points), len(reached), cases)
	}
}

// place is where a victim comes to a point.
type place struct {
	scenario scenario
	backend  string
}

func eachPlace(f func(at place)) {
	for _, s := range scenarios {
		for _, b := range s.on() {
			f(place{s, b})
		}
	}
}

func (s scenario) on() []string {
	if s.backends != nil {
		return s.backends
	}
	return catalog.Native()
}

// traced plays a scenario without harm and returns the points that its victim came to.
func (at place) traced(t *testing.T) []string {
	return proctest.Traced(t, at.scenario.name+"/"+at.backend, func(t *testing.T, plan string) {
		at.scenario.play0(t, at.backend, plan, "stop-go")
	})
}

func (s scenario) run(t *testing.T, backend, point, how string) {
	action, _, _ := strings.Cut(how, "-")
	s.play0(t, backend, point+"="+action, how)
}

func (s scenario) play0(t *testing.T, backend, plan, how string) {
	w := newWorld(t, backend, s.settings...)
	w.how = how
	removal := "filemap/unlink"
	if backend == "sysv" {
		removal = "sysv/rmid"
	}
	w.plan = strings.Join(slices.DeleteFunc([]string{strings.ReplaceAll(s.fault, "FAULT", removal), plan},
		func(p string) bool { return p == "" }), ",")
	s.play(w)
	if s.check != nil {
		s.check(w)
		return
	}
	w.check()
}
