package round

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/quiet"
	"github.com/godsm/godsm/bench/side"
)

// player answers with numbers that it was given, and notes its turn.
type player struct {
	name    string
	answers []float64
	turns   *[]string
	closed  *int
	err     error
}

func (p *player) Round(context.Context) ([]float64, error) {
	*p.turns = append(*p.turns, p.name)
	if len(p.answers) == 0 {
		return nil, p.err
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	return []float64{a}, nil
}

func (p *player) Close() error { *p.closed++; return nil }

func (p *player) contender(goal float64) figure.Contender {
	return figure.Contender{Rival: p.name, Goal: goal, Why: "it is another kind of thing",
		Open: func(context.Context, side.Pin, time.Duration) (side.Side, error) { return p, nil }}
}

func options(t *testing.T, repeats int) Options {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte("cpu  1 0 0 9 0 0 0 0 0 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	return Options{Repeats: repeats, Patience: time.Minute, Log: t.Logf, Watch: quiet.Watch{
		Proc: dir, Root: 1,
		Sleep: func(ctx context.Context, d time.Duration) error { now = now.Add(d); return context.Cause(ctx) },
		Now:   func() time.Time { return now },
	}}
}

func TestSidesTakeTurns(t *testing.T) {
	var turns []string
	var closed int
	ours := &player{"godsm", []float64{10, 20, 40}, &turns, &closed, nil}
	rival := &player{"rival", []float64{20, 40, 80}, &turns, &closed, nil}
	faster := &player{"faster", []float64{5, 10, 20}, &turns, &closed, nil}
	rep, err := All(t.Context(), []figure.Figure{{Part: "part", Shape: "shape", Bytes: 100, Max: 15,
		Sides: []figure.Contender{ours.contender(0), rival.contender(0.6), faster.contender(1)}}}, options(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(turns, " "); got != "godsm rival faster godsm rival faster godsm rival faster" {
		t.Errorf("turns: %s", got)
	}
	if closed != 3 {
		t.Errorf("%d sides were closed, want 3", closed)
	}
	yes, no := true, false
	want := []figure.Result{
		{Part: "part", Shape: "shape", Rival: "godsm", NsPerOp: 20, MBPerS: 5000, Min: 10, Max: 40, Repeats: 3,
			Goal: "at most 15 ns", Met: &no, Decided: "how fast the machine is: the goal is a time, not a ratio"},
		{Part: "part", Shape: "shape", Rival: "rival", NsPerOp: 40, MBPerS: 2500, Min: 20, Max: 80, Repeats: 3,
			Ratio: 0.5, Goal: "at most 0.6 x", Met: &yes},
		{Part: "part", Shape: "shape", Rival: "faster", NsPerOp: 10, MBPerS: 10000, Min: 5, Max: 20, Repeats: 3,
			Ratio: 2, Goal: "at most 1 x", Met: &no,
			Why: "it is another kind of thing"},
	}
	for i := range want {
		rep.Results[i].Unstable = "" // these numbers drift, as those of a machine do that gets slower: TestUnstable
		if !reflect.DeepEqual(rep.Results[i], want[i]) {
			t.Errorf("\n got %+v\nwant %+v", rep.Results[i], want[i])
		}
	}
}

func TestUnstable(t *testing.T) {
	var turns []string
	var closed int
	wild := &player{"godsm", []float64{10, 10, 90, 90, 10, 10, 90}, &turns, &closed, nil}
	tame := &player{"rival", []float64{10, 10, 90, 10, 11, 10, 10}, &turns, &closed, nil}
	rep, err := All(t.Context(), []figure.Figure{{Sides: []figure.Contender{wild.contender(0), tame.contender(0)}}},
		options(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rep.Results[0].Unstable, "spreads") || rep.Results[1].Unstable != "" {
		t.Errorf("%+v", rep.Results)
	}
}

func TestDisturbed(t *testing.T) {
	var turns []string
	var closed int
	o := options(t, 1)
	busy := &player{"godsm", []float64{10}, &turns, &closed, nil}
	c := busy.contender(0)
	open := c.Open
	// meanwhile others use a second, in half of one
	c.Open = func(ctx context.Context, p side.Pin, d time.Duration) (side.Side, error) {
		_ = o.Watch.Sleep(ctx, 500*time.Millisecond)
		if err := os.WriteFile(filepath.Join(o.Watch.Proc, "stat"), []byte("cpu  101 0 0 9 0 0 0 0 0 0\n"),
			0o600); err != nil {
			t.Fatal(err)
		}
		return open(ctx, p, d)
	}
	rep, err := All(t.Context(), []figure.Figure{{Sides: []figure.Contender{c}}}, o)
	if err != nil || rep.Results[0].Unstable != "others used 200 % of a CPU" || rep.Waited != time.Second {
		t.Errorf("%+v, waited %v, %v", rep.Results, rep.Waited, err)
	}
}

func TestAFailedRivalIsASkip(t *testing.T) {
	var turns []string
	var closed int
	ours := &player{"godsm", []float64{10, 20, 30}, &turns, &closed, nil}
	dies := &player{"dies", []float64{10}, &turns, &closed, errors.New("it broke")}
	absent := figure.Contender{Rival: "absent",
		Open: func(context.Context, side.Pin, time.Duration) (side.Side, error) {
			return nil, errors.New("no such program: apt install it")
		}}
	rep, err := All(t.Context(), []figure.Figure{{Sides: []figure.Contender{ours.contender(0), dies.contender(1),
		absent}}}, options(t, 3))
	if err != nil || len(rep.Failed) != 0 || closed != 2 {
		t.Fatalf("%v, %v, %d closed", err, rep.Failed, closed)
	}
	if r := rep.Results[0]; r.Repeats != 3 || r.Skipped != "" {
		t.Errorf("ours: %+v", r)
	}
	if r := rep.Results[1]; r.Repeats != 0 || r.Skipped != "it broke" || r.Goal != "" {
		t.Errorf("the one that died: %+v", r)
	}
	if r := rep.Results[2]; r.Skipped != "no such program: apt install it" {
		t.Errorf("the one that is not there: %+v", r)
	}
}

func TestOurOwnFailureIsToldApart(t *testing.T) {
	var turns []string
	var closed int
	ours := &player{"godsm", nil, &turns, &closed, errors.New("it broke")}
	rival := &player{"rival", []float64{1, 1}, &turns, &closed, nil}
	rep, err := All(t.Context(), []figure.Figure{{Part: "p", Shape: "s",
		Sides: []figure.Contender{ours.contender(0), rival.contender(1)}}}, options(t, 2))
	if err != nil || len(rep.Failed) != 1 || rep.Failed[0].Error() != "p/s: it broke" {
		t.Errorf("%v, %v", rep.Failed, err)
	}
	if r := rep.Results[1]; r.Repeats != 2 || r.Ratio != 0 || r.Goal != "" {
		t.Errorf("a ratio with nothing: %+v", r)
	}
}

func TestInterrupted(t *testing.T) {
	var turns []string
	var closed int
	ctx, cancel := context.WithCancel(t.Context())
	ours := &player{"godsm", []float64{1}, &turns, &closed, nil}
	c := ours.contender(0)
	open := c.Open
	c.Open = func(ctx context.Context, p side.Pin, d time.Duration) (side.Side, error) {
		cancel()
		return open(ctx, p, d)
	}
	rep, err := All(ctx, []figure.Figure{{Sides: []figure.Contender{c}}}, options(t, 2))
	if !errors.Is(err, context.Canceled) || len(rep.Results) != 0 || closed != 1 {
		t.Errorf("%v, %v, %d closed", rep.Results, err, closed)
	}
}

func TestSeveralNumbers(t *testing.T) {
	two := figure.Contender{Rival: "godsm", Open: func(context.Context, side.Pin, time.Duration) (side.Side, error) {
		return pair{}, nil
	}}
	rep, err := All(t.Context(), []figure.Figure{{Shape: "round trip", Names: []string{"p50", "p99"}, Max: 10,
		Sides: []figure.Contender{two}}}, options(t, 2))
	if err != nil || len(rep.Results) != 2 {
		t.Fatal(rep, err)
	}
	if a, b := rep.Results[0], rep.Results[1]; a.Shape != "round trip, p50" || a.NsPerOp != 1 || a.Goal == "" ||
		b.Shape != "round trip, p99" || b.NsPerOp != 9 || b.Goal != "" {
		t.Errorf("%+v %+v", a, b)
	}
}

type pair struct{}

func (pair) Round(context.Context) ([]float64, error) { return []float64{1, 9}, nil }
func (pair) Close() error                             { return nil }
