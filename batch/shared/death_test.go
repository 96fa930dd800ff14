//go:build linux && failpoint

package shared

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func failpointArm(plan string) error { return failpoint.Arm(plan) }

// scenarios are what a victim does until it dies, and what this process does with it.
var scenarios = map[string]func(s *stage, plan string){
	"leads": func(s *stage, plan string) { // it makes the queue, leads and hands in
		v := s.start(plan, "leads", "faults")
		if _, ok := v.Line(); ok {
			_ = v.TrySend("go 200")
		}
		q := s.join(true)
		s.own(q, 300)
		s.perish(v, plan)
		s.judge(q)
	},
	"submits": func(s *stage, plan string) { // it hands in, and withdraws while no session leads
		v := s.start(plan, "withdraws")
		_, ok := v.Line()
		q := s.join(true)
		if ok {
			_ = v.TrySend("go 200")
		}
		s.own(q, 100)
		s.perish(v, plan)
		s.judge(q)
	},
	"succeeds": func(s *stage, plan string) { // it leads after one that has died with commands in all states
		first := s.start("batch/flush/committed#12=kill", "leads")
		first.Expect("ready")
		orphan := s.start("batch/submit/written#20=kill")
		orphan.Expect("ready")
		answered := s.start("batch/submit/read#9=kill")
		answered.Expect("ready")
		q := s.join(false)
		_ = orphan.TrySend("go 300")
		_ = answered.TrySend("go 300")
		_ = first.TrySend("go 300")
		s.follow(q, plan, first)
		s.perish(orphan, "=kill")
		s.perish(answered, "=kill")
		s.judge(s.join(true))
	},
	"returns": func(s *stage, plan string) { // it leads after two that have died with the same commands claimed
		q := s.join(false)
		s.follow(q, plan, s.start("batch/flush/running#1=kill", "leads"), s.start("batch/flush/running#1=kill", "leads"))
		s.judge(s.join(true))
	},
}

// follow hands in commands while those before die, and has the victim lead then.
func (s *stage) follow(q *Queue[command, uint64], plan string, before ...*proctest.Process) {
	finished := make(chan struct{})
	go func() { defer close(finished); s.own(q, 300) }()
	for _, p := range before {
		_ = p.Wait()
	}
	v := s.start(plan, "leads")
	died := make(chan struct{})
	go func() {
		for range v.Lines() {
		}
		close(died)
	}()
	select {
	case <-finished:
	case <-died:
	}
	last := s.start("", "leads")
	<-finished
	s.perish(v, plan)
	if err := last.Close(); err != nil {
		s.Error(err, last.Stderr())
	}
	if err := q.Close(ctx); err != nil {
		s.Error(err)
	}
}

func (s *stage) perish(v *proctest.Process, plan string) {
	s.Helper()
	if err := v.Perish(plan, false); err != nil {
		s.Error(err)
	}
}

// TestKilledInside kills a process at each point, the first, the third and the 40th time that it comes there.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"leads", "submits", "succeeds", "returns"}
	reached, at := map[string]bool{}, map[string][]string{}
	// Some points are reached only if a leader is as slow as it may be: then a scenario is played again.
	for try := 0; try < 6 && len(reached) < len(points); try++ {
		for _, scenario := range names {
			at[scenario] = append(at[scenario],
				proctest.Traced(t, scenario, func(t *testing.T, plan string) { scenarios[scenario](newStage(t, "posix"), plan) })...)
			for _, p := range at[scenario] {
				if strings.HasPrefix(p, "batch/") && !(scenario == "submits" && strings.HasPrefix(p, "batch/lead/")) {
					reached[p] = true
				}
			}
		}
	}
	for _, scenario := range names {
		at := at[scenario]
		slices.Sort(at)
		for _, p := range slices.Compact(at) {
			if !strings.HasPrefix(p, "batch/") || scenario == "submits" && strings.HasPrefix(p, "batch/lead/") {
				continue
			}
			for _, nth := range []int{1, 3, 40} {
				if nth > 1 && testing.Short() {
					continue
				}
				for _, fate := range []string{"kill", "stop"} {
					if fate == "stop" && nth > 1 {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%d/%s", scenario, p, nth, fate), func(t *testing.T) {
						t.Parallel()
						scenarios[scenario](newStage(t, "posix"), fmt.Sprintf("%s#%d=%s", p, nth, fate))
					})
				}
			}
		}
	}
	proctest.Reached(t, points, reached)
	t.Logf("%d points", len(points))
}
