// Package round measures figures: opens all sides of one, lets them take turns, A B C A B C, so
// that what slows the machine down hits all alike, and makes results of their answers.
package round

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/quiet"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/bench/stat"
)

// WildSpread is how far the middle half of the repeats may reach, over their median, before a
// figure is called unstable.
const WildSpread = 0.25

// Options say how to measure.
type Options struct {
	Repeats  int
	Target   time.Duration // of a round
	Patience time.Duration // for a quiet machine, all waits together
	Watch    quiet.Watch
	Log      func(format string, args ...any)
}

// Report is what a run found out.
type Report struct {
	Results []figure.Result
	Waited  time.Duration // for a quiet machine
	Failed  []error       // sides of ours that could not be measured
}

// All measures the figures in turn. If ctx ends, what has been measured so far is returned with its cause.
func All(ctx context.Context, figures []figure.Figure, o Options) (rep Report, err error) {
	disturbed := true // nothing is known yet
	for i, f := range figures {
		if disturbed && rep.Waited < o.Patience {
			waited, isQuiet, err := o.Watch.Wait(ctx, o.Patience-rep.Waited)
			if err != nil {
				return rep, err
			}
			rep.Waited += waited
			if !isQuiet {
				o.Log("others use this machine: waited %v, now going on; figures that they disturb are marked",
					rep.Waited.Round(time.Second))
			}
		}
		before, err := o.Watch.Read()
		if err != nil {
			return rep, err
		}
		rows, err := measure(ctx, f, o)
		if err != nil {
			return rep, err
		}
		after, err := o.Watch.Read()
		if err != nil {
			return rep, err
		}
		others := quiet.Others(before, after)
		disturbed = others > quiet.Limit
		for k := range rows {
			if disturbed && rows[k].NsPerOp > 0 { // bytes are what they are
				rows[k].Unstable = join(rows[k].Unstable, fmt.Sprintf("others used %.0f %% of a CPU", 100*others))
			}
			if rows[k].Rival == figure.Ours && rows[k].Skipped != "" {
				rep.Failed = append(rep.Failed, fmt.Errorf("%s: %s", f.Name(), rows[k].Skipped))
			}
		}
		o.Log("%d/%d %s: %s", i+1, len(figures), f.Name(), line(rows))
		rep.Results = append(rep.Results, rows...)
	}
	return rep, nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// measure returns one figure. An error is the end of everything; a side that fails is a result that says why.
func measure(ctx context.Context, f figure.Figure, o Options) ([]figure.Result, error) {
	names := f.Names
	if len(names) == 0 {
		names = []string{""}
	}
	open := make([]side.Side, len(f.Sides))
	skipped := make([]string, len(f.Sides))
	answers := make([][][]float64, len(f.Sides)) // by side, name and round
	defer func() {
		for _, s := range open {
			if s != nil {
				_ = s.Close()
			}
		}
	}()
	fail := func(i int, err error) {
		skipped[i] = err.Error()
		if open[i] != nil {
			_ = open[i].Close()
			open[i] = nil
		}
	}
	for i, c := range f.Sides {
		answers[i] = make([][]float64, len(names))
		s, err := c.Open(ctx, f.Pin, o.Target)
		if err != nil {
			fail(i, err)
			continue
		}
		open[i] = s
	}
	repeats := o.Repeats
	if f.Once {
		repeats = 1
	}
	for range repeats {
		for i := range f.Sides {
			if open[i] == nil {
				continue
			}
			numbers, err := open[i].Round(ctx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err == nil && len(numbers) != len(names) {
				err = fmt.Errorf("it answers with %d numbers, not %d", len(numbers), len(names))
			}
			if err != nil {
				fail(i, err)
				continue
			}
			for k := range names {
				answers[i][k] = append(answers[i][k], numbers[k])
			}
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := range open {
		if open[i] == nil {
			continue
		}
		if err := open[i].Close(); err != nil && f.Sides[i].Rival == figure.Ours {
			skipped[i] = "at its end: " + err.Error()
		}
		open[i] = nil
	}
	var rows []figure.Result
	for k, name := range names {
		var ours []float64
		if f.Sides[0].Rival == figure.Ours && skipped[0] == "" {
			ours = answers[0][k]
		}
		for i, c := range f.Sides {
			r := figure.Result{Part: f.Part, Shape: f.Shape, Rival: c.Rival, Pin: f.Pin, Skipped: skipped[i]}
			if name != "" {
				r.Shape += ", " + name
			}
			if r.Skipped == "" {
				fill(&r, f, c, answers[i][k], ours, name == f.Goal || f.Goal == "" && k == 0)
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// fill puts the repeats of one side into its row; goal reports whether this row is the one that goals are for.
func fill(r *figure.Result, f figure.Figure, c figure.Contender, x, ours []float64, goal bool) {
	r.Repeats, r.Min, r.Max = len(x), stat.Quantile(x, 0), stat.Quantile(x, 1)
	v := stat.Median(x)
	switch f.Unit {
	case figure.Percent:
		r.Percent = v
	case figure.Bytes:
		r.Bytes = v
	default:
		r.NsPerOp = v
		if f.Bytes > 0 {
			r.MBPerS = float64(f.Bytes) / v * 1e3
		}
	}
	if s := stat.Spread(x); s > WildSpread {
		r.Unstable = fmt.Sprintf("the middle half of the repeats spreads over %.0f %%", 100*s)
	}
	judge := func(text string, met bool) {
		if goal {
			r.Goal, r.Met, r.Decided = text, &met, decided(f.Pin, c.Rival == figure.Ours)
		}
	}
	if c.Rival == figure.Ours {
		if f.Max > 0 {
			judge("at most "+Show(f.Max, f.Unit), v <= f.Max)
		}
		return
	}
	if ratio := stat.Ratio(ours, x); !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
		r.Ratio = ratio
		if c.Goal > 0 {
			judge(fmt.Sprintf("at most %.3g x", c.Goal), ratio <= c.Goal)
		}
		if ratio > 1 {
			r.Why = c.Why
		}
	}
}

// decided returns what of the machine has a say in a goal; absolute reports whether the goal is a time, not a ratio.
func decided(pin side.Pin, absolute bool) string {
	switch {
	case pin == side.Same:
		return "how fast the scheduler hands one CPU from process to process"
	case pin == side.Diff:
		return "how fast a cache line goes from CPU to CPU"
	case pin == side.Free:
		return "on which CPUs the scheduler puts both processes"
	case absolute:
		return "how fast the machine is: the goal is a time, not a ratio"
	}
	return ""
}

// Show writes a figure with its unit.
func Show(v float64, u figure.Unit) string {
	switch {
	case u == figure.Percent:
		return fmt.Sprintf("%.1f %%", v)
	case u == figure.Bytes:
		return fmt.Sprintf("%.1f B", v)
	case v < 1e3:
		return fmt.Sprintf("%.3g ns", v)
	case v < 1e6:
		return fmt.Sprintf("%.3g µs", v/1e3)
	case v < 1e9:
		return fmt.Sprintf("%.3g ms", v/1e6)
	}
	return fmt.Sprintf("%.3g s", v/1e9)
}

// line returns a figure for people who watch the run.
func line(rows []figure.Result) (text string) {
	for _, r := range rows {
		if r.Shape != rows[0].Shape {
			break // the first of several numbers is enough here
		}
		text = join(text, r.Rival+" ")
		switch {
		case r.Skipped != "":
			text += "skipped: " + r.Skipped
		default:
			text += Show(r.Value())
		}
		if r.Ratio != 0 {
			text += fmt.Sprintf(" (%.2f)", r.Ratio)
		}
		if r.Unstable != "" {
			text += " unstable"
		}
	}
	return text
}
