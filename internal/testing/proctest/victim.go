//go:build linux && failpoint

package proctest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"golang.org/x/sys/unix"
)

// Scenario is a play of a victim and those who outlive it: Play starts the victim, tells it what
// to do, ends it, and judges what it left.
type Scenario struct {
	Name string
	Play func(t *testing.T, v *Victim)
}

// Victim is a helper that does what it is told, line by line, and answers each with a line, until
// it comes to its point.
type Victim struct {
	*Process
	Point string // where it dies or is stopped; "" if nothing happens to it
	While func() // done while it is stopped there, beside the play; set before Start

	t     testing.TB
	fate  string // "": none
	trace string // the plan without a fate
	met   bool   // it has met its fate; to be read when it has ended
	ended chan struct{}
}

// again is to be killed the second time it comes to its point.
const again = "kill-again"

// fates are what becomes of a victim at its point.
var fates = []string{"kill", again, "stop-kill", "stop-go"}

// Deaths plays each scenario without harm, to learn which points its victim comes to, and again with every fate at
// each of them. Every point in the source in dir must have seen every fate in some scenario; since it may be a matter
// of time which points a victim comes to, what is missing is tried some times more. Points elsewhere do not matter.
func Deaths(t *testing.T, dir string, scenarios []Scenario) {
	points, err := failpoint.Points(dir)
	if err != nil || len(points) == 0 {
		t.Fatalf("points %v, %v", points, err)
	}
	var mu sync.Mutex
	met := map[string]bool{} // by point and fate
	cases := 0
	missing := func() (list []string) {
		for _, p := range points {
			for _, fate := range fates {
				if !met[p+": "+fate] && fate != again {
					list = append(list, p+": "+fate)
				}
			}
		}
		return list
	}
	for try := 0; try < 5 && len(missing()) > 0 && (try == 0 || !Selected()); try++ {
		wanted := missing()
		t.Run(strconv.Itoa(try), func(t *testing.T) {
			for _, s := range scenarios {
				for _, p := range s.trace(t) {
					if !slices.Contains(points, p) {
						continue
					}
					for _, fate := range fates {
						if try > 0 && !slices.Contains(wanted, p+": "+fate) {
							continue
						}
						cases++
						t.Run(s.Name+"/"+p+"/"+fate, func(t *testing.T) {
							t.Parallel()
							v := &Victim{Point: p, t: t, fate: fate}
							s.Play(t, v)
							mu.Lock()
							defer mu.Unlock()
							met[p+": "+fate] = met[p+": "+fate] || v.met
						})
					}
				}
			}
		})
	}
	if list := missing(); len(list) > 0 && !Selected() {
		t.Errorf("no victim comes to %v", list)
	}
	t.Logf("%d points, %d cases", len(points), cases)
}

// trace plays a scenario and returns the points that its victim came to.
func (s Scenario) trace(t *testing.T) []string {
	return Traced(t, s.Name, func(t *testing.T, plan string) { s.Play(t, &Victim{t: t, trace: plan}) })
}

// Traced runs play as the subtest trace/NAME with a plan for its victim that harms no process, and returns the points that
// the victim came to; none if -run leaves it out.
func Traced(t *testing.T, name string, play func(t *testing.T, plan string)) (points []string) {
	t.Helper()
	noteTraces(t.Name())
	file := filepath.Join(t.TempDir(), "trace")
	t.Run("trace/"+name, func(t *testing.T) {
		play(t, "trace="+file)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		points = strings.Fields(string(b))
	})
	return points
}

func noteTraces(test string) {
	blame.mu.Lock()
	defer blame.mu.Unlock()
	if blame.traced == nil {
		blame.traced = map[string]bool{}
	}
	blame.traced[test] = true
}

// Reached makes the test fail for each point that no victim came to.
func Reached(t *testing.T, points []string, reached map[string]bool) {
	t.Helper()
	for _, p := range points {
		if !reached[p] {
			t.Errorf("no victim comes to %s", p)
		}
	}
}

// Perish waits for the end of a victim with that plan. It is an error if the victim neither was
// killed nor ended well, or, if it is certain that it comes to its point, was not killed.
func (p *Process) Perish(plan string, certain bool) error {
	err := p.Close()
	if killed := err != nil && strings.Contains(err.Error(), "killed"); !killed && (err != nil || certain) {
		return fmt.Errorf("the victim of %s: %v: %s", plan, err, p.Stderr())
	}
	return nil
}

// plan returns what package failpoint is told.
func (v *Victim) plan() string {
	action, _, _ := strings.Cut(v.fate, "-")
	switch v.fate {
	case "":
		return v.trace
	case again:
		return v.Point + "#2=" + action
	}
	return v.Point + "=" + action
}

// Start starts the helper that the victim is.
func (v *Victim) Start(helper string, args ...string) {
	v.t.Helper()
	cmd := Command(helper, args...)
	cmd.Env = append(cmd.Env, "DSM_FAILPOINT="+v.plan())
	v.Process = Run(v.t, cmd)
	v.Expect("ready")
	v.ended = make(chan struct{})
	go v.watch()
}

// watch goes on with the victim when it is stopped.
func (v *Victim) watch() {
	defer close(v.ended)
	const cldStopped = 5
	for {
		var info unix.Siginfo
		switch err := unix.Waitid(unix.P_PID, v.Pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil); {
		case err == unix.EINTR:
			continue
		case err != nil || info.Code != cldStopped:
			return
		}
		v.met = true
		if v.While != nil {
			v.While()
		}
		next := unix.SIGCONT
		if v.fate == "stop-kill" {
			next = unix.SIGKILL
		}
		_ = unix.Kill(v.Pid, next)
	}
}

// Dead reports whether the victim has ended.
func (v *Victim) Dead() bool {
	select {
	case <-v.ended:
		return true
	default:
		return false
	}
}

// Tell sends the victim a line that says what to do. It does not wait for an answer.
func (v *Victim) Tell(format string, args ...any) { _ = v.TrySend(format, args...) }

// Answer returns the victim's next line; an empty one if it ends without, and then only once it has ended.
func (v *Victim) Answer() string {
	v.t.Helper()
	line, ok := v.Line()
	if !ok {
		<-v.ended
	}
	return line
}

// Ask sends the victim a line, as Tell does, and returns its Answer.
func (v *Victim) Ask(format string, args ...any) string {
	v.t.Helper()
	v.Tell(format, args...)
	return v.Answer()
}

// Until waits until it is so, or until the victim is dead.
func (v *Victim) Until(what string, is func() bool) {
	v.t.Helper()
	for end := time.Now().Add(patience); !is() && !v.Dead(); runtime.Gosched() {
		if time.Now().After(end) {
			v.t.Fatalf("never %s; the victim wrote: %s", what, v.Stderr())
		}
	}
}

// End lets the victim end, if it lives, and reports whether it died at its point.
func (v *Victim) End() (died bool) {
	v.t.Helper()
	err := v.Close()
	<-v.ended
	died = v.Cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL
	if died != (err != nil) || died && v.fate == "stop-go" {
		v.t.Fatalf("the victim: %v: %s", err, v.Stderr())
	}
	v.met = v.met || died
	return died
}
