package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
)

// at is when the tests' recordings begin.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// recorded returns the events of a recording of surveys, in a file of limited size.
func recorded(t *testing.T, limit int64, looks ...survey.Survey) []event {
	t.Helper()
	var file bytes.Buffer
	r := recorder{limit: limit}
	r.out.to(&file)
	for i, s := range looks {
		if i > 0 {
			r.before = &looks[i-1]
		} else {
			r.begun = s.Begun
		}
		r.now = s
		r.looks++
		r.add()
	}
	r.finish(func(*span) bool { return true })
	if err := r.out.close(); err != nil {
		t.Fatal(err)
	}
	if int64(file.Len()) > limit {
		t.Errorf("a file of %d bytes, which may have %d", file.Len(), limit)
	}
	var list []event
	if err := json.Unmarshal(file.Bytes(), &list); err != nil {
		t.Fatalf("%v: %s", err, file.String())
	}
	whole(t, list)
	return list
}

// whole checks that each span that begins ends, once and not before, and that times are not negative.
func whole(t *testing.T, list []event) {
	t.Helper()
	begun := map[string]float64{}
	for _, e := range list {
		id := fmt.Sprint(e.Category, e.ID, e.Name)
		began, is := begun[id]
		switch e.Phase {
		case "b":
			if is {
				t.Errorf("begins twice: %+v", e)
			}
			begun[id] = e.Time
		case "e":
			if !is || e.Time < began {
				t.Errorf("ends before it begins: %+v, %v", e, began)
			}
			delete(begun, id)
		}
		if e.Time < 0 || e.Name == "" {
			t.Errorf("%+v", e)
		}
	}
	if len(begun) > 0 {
		t.Errorf("without an end: %v", begun)
	}
}

// spans returns the spans of a recording as "name begin-end" in ms, in the order of their ends.
func spans(list []event) (texts []string) {
	begun := map[string]float64{}
	for _, e := range list {
		id := fmt.Sprint(e.Category, e.ID, e.Name)
		switch e.Phase {
		case "b":
			begun[id] = e.Time
		case "e":
			texts = append(texts, fmt.Sprintf("%s %g-%g", e.Name, begun[id]/1000, e.Time/1000))
		}
	}
	return texts
}

// seen makes a survey so many ms after the begin.
func seen(ms int, change func(s *survey.Survey)) survey.Survey {
	s := survey.Survey{Begun: at.Add(time.Duration(ms) * time.Millisecond)}
	s.Report.Status = dsm.Status{Dir: "/srv/dsm", Supervisor: 7, Supervised: true, Generation: 1}
	change(&s)
	return s
}

func session(name, state string) dsm.SessionInfo {
	return dsm.SessionInfo{Name: name, Pid: 100, Application: "worker", State: dsm.SessionState(state), Started: at.Add(-time.Hour)}
}

func held(forMs int) []survey.Table {
	return []survey.Table{{Info: registry.Info{Name: "storage"}, Locks: []locktable.Info{{Holders: []locktable.Party{{Pid: 100, Mode: locktable.Exclusive,
		For: time.Duration(forMs) * time.Millisecond}}}}}}
}

// TestSpansOfTwoLooks: what a look sees and the next does not has ended; what is in both goes on.
func TestSpansOfTwoLooks(t *testing.T) {
	sessions := func(list ...dsm.SessionInfo) func(*survey.Survey) {
		return func(s *survey.Survey) { s.Report.Sessions = list }
	}
	tables := func(list []survey.Table) func(*survey.Survey) { return func(s *survey.Survey) { s.Tables = list } }
	nothing := func(*survey.Survey) {}
	next := func(s *survey.Survey) {
		s.Report.Status.Generation = 2
		s.Report.Sessions = []dsm.SessionInfo{session("1/1", "running")}
	}
	for _, c := range []struct {
		name  string
		looks []survey.Survey
		want  string
	}{
		{"a session goes on", []survey.Survey{seen(0, sessions(session("1/1", "running"))), seen(10, sessions(session("1/1", "running")))},
			"session 1/1 0-10"},
		{"it leaves", []survey.Survey{seen(0, sessions(session("1/1", "running"))), seen(10, nothing), seen(20, nothing)}, "session 1/1 0-10"},
		{"its row is another's", []survey.Survey{seen(0, sessions(session("1/1", "running"))), seen(10, sessions(session("1/2", "running")))},
			"session 1/1 0-10, session 1/2 0-10"},
		{"it is stopped for a while", []survey.Survey{seen(0, sessions(session("1/1", "running"))), seen(10, sessions(session("1/1", "stopped"))),
			seen(20, sessions(session("1/1", "stopped"))), seen(30, sessions(session("1/1", "running")))}, "stopped 10-30, session 1/1 0-30"},
		{"it dies when it is stopped", []survey.Survey{seen(0, sessions(session("1/1", "stopped"))), seen(10, nothing)},
			"stopped 0-10, session 1/1 0-10"},
		{"another generation", []survey.Survey{seen(0, sessions(session("1/1", "running"))), seen(10, next)}, "session 1/1 0-10, session 1/1 0-10"},
		{"a lock is held on", []survey.Survey{seen(0, tables(held(5))), seen(10, tables(held(15))), seen(20, tables(held(24)))}, "holds storage:  0-20"},
		{"it is taken between looks", []survey.Survey{seen(0, nothing), seen(10, tables(held(4)))}, "holds storage:  6-10"},
		{"it is let go and taken again", []survey.Survey{seen(0, tables(held(5))), seen(10, tables(held(2)))}, "holds storage:  0-8, holds storage:  8-10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(spans(recorded(t, 1<<20, c.looks...)), ", "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestCountersAreWrittenWhenTheyChange: rates are differences of two looks, and what is as it was is not repeated.
func TestCountersAreWrittenWhenTheyChange(t *testing.T) {
	done := func(creates uint64) func(*survey.Survey) {
		return func(s *survey.Survey) { s.Report.Status.Counters.Creates, s.Report.Status.Segments = creates, 3 }
	}
	var rates []float64
	segments := 0
	for _, e := range recorded(t, 1<<20, seen(0, done(10)), seen(500, done(20)), seen(1000, done(30)), seen(1500, done(30)), seen(2000, done(1))) {
		switch e.Name {
		case "done in a second":
			rates = append(rates, e.Args["creates"].(float64))
		case "segments":
			segments++
		}
	}
	if fmt.Sprint(rates) != "[20 0]" || segments != 1 {
		t.Errorf("creates in a second %v, segments written %d times", rates, segments)
	}
}

// TestEventsAreWrittenOnce: those from before the recording are left out, and each look tells the others again.
func TestEventsAreWrittenOnce(t *testing.T) {
	tell := func(list ...dsm.Event) func(*survey.Survey) { return func(s *survey.Survey) { s.Events = list } }
	old := dsm.Event{Time: at.Add(-time.Second), Kind: "joined", Session: "1/1", Pid: 100}
	died := dsm.Event{Time: at.Add(time.Millisecond), Kind: "died", Session: "1/1", Pid: 100, Application: "worker", Count: 3}
	left := dsm.Event{Time: at.Add(2 * time.Millisecond), Kind: "left", Session: "2/1", Pid: 101}
	var got []string
	elsewhere := died // as a file has it
	elsewhere.Time = died.Time.In(time.FixedZone("elsewhere", 3600))
	for _, e := range recorded(t, 1<<20, seen(0, tell(old)), seen(10, tell(died, old)), seen(20, tell(left, elsewhere, old))) {
		if e.Phase == "i" {
			got = append(got, fmt.Sprintf("%s %d %g", e.Name, e.Pid, e.Time))
		}
	}
	if want := "[died 100 1000 left 101 2000]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestFullFileIsWhole: the file does not grow beyond its limit, and what is in it has an end.
func TestFullFileIsWhole(t *testing.T) {
	many := func(s *survey.Survey) {
		for i := range 10_000 {
			s.Report.Segments = append(s.Report.Segments, dsm.SegmentInfo{Handle: dsm.Handle(i + 1), CreatorPid: 100, Creator: "worker", Size: 1 << 30})
		}
	}
	list := recorded(t, minLimit, seen(0, many), seen(10, many))
	if n := len(spans(list)); n < 50 || n > 1000 {
		t.Errorf("%d segments are in it", n)
	}
}
