package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// kinds lists the events of an instance: generation and kind, in order.
func (e *env) kinds() (list []string) {
	e.t.Helper()
	for x, err := range dsm.Events(ctx, dsm.Config{Dir: e.dir}, false) {
		if err != nil {
			e.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d %s", x.Generation, x.Kind))
	}
	return list
}

func (e *env) wantKinds(about, want string) {
	e.t.Helper()
	if got := strings.Join(e.kinds(), ", "); got != want {
		e.t.Errorf("%s: events %s, want %s", about, got, want)
	}
}

// TestEventsOutliveAll: the events are there when all processes of the instance have been killed, after the start that
// removes what they left, and after a stop.
func TestEventsOutliveAll(t *testing.T) {
	for _, backend := range []string{"posix", "mmap"} {
		t.Run(backend, func(t *testing.T) {
			e := newEnv(t)
			sup, _ := e.supervise("dynamic_shared_memory_type", backend)
			a := e.session()
			e.create(a, 100, 1)
			sup.Kill()
			a.Kill()
			e.wantKinds("all are killed", "1 began, 1 joined")
			again, _ := e.supervise("dynamic_shared_memory_type", backend)
			first := "1 began, 1 joined, 1 died, 1 ended, 1 died, "
			e.wantKinds("after the next start", first+"2 began")
			noErr(t, again.Close())
			e.wantKinds("after the stop", first+"2 began, 2 ended")
			noErr(t, os.WriteFile(filepath.Join(e.dir, "events"), []byte("garbled"), 0o600))
			for _, err := range dsm.Events(ctx, dsm.Config{Dir: e.dir}, false) {
				if err == nil {
					t.Error("a garbled file tells events")
				}
			}
			e.noneLeft()
		})
	}
}

// TestEventsAreFollowed: a follower gets each event once, over the end of a generation.
func TestEventsAreFollowed(t *testing.T) {
	e := newEnv(t)
	e.supervise("on_crash", "restart")
	a := e.session()
	var got []string
	for x, err := range dsm.Events(ctx, dsm.Config{Dir: e.dir}, true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s", x.Generation, x.Kind))
		if x.Kind == "joined" && x.Generation == 1 {
			a.Kill()
		}
		if x.Generation == 2 {
			break
		}
	}
	if want := []string{"1 began", "1 joined", "1 died", "1 ended", "2 began"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestCountersOfTheDead: what a session has done stays counted when it is killed, and what it held is counted as
// returned.
func TestCountersOfTheDead(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	a := e.session()
	e.create(a, 100, 7)
	s := e.open()
	a.Kill()
	instancetest.Eventually(t, "the death is counted", func() bool {
		st, err := s.Status(ctx)
		noErr(t, err)
		return st.Counters.Reclaims == 1
	})
	st, err := s.Status(ctx)
	noErr(t, err)
	if c := st.Counters; c.Creates != 7 || c.CreatedBytes != 700 || c.Returned != 7 || c.Joins != 2 || c.LastReclaim.IsZero() {
		t.Errorf("counters %+v", c)
	}
}
