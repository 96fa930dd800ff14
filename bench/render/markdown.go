package render

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/machine"
	"github.com/godsm/godsm/bench/round"
)

// Markdown returns the report.
func Markdown(about machine.About, results []figure.Result, charts []Chart) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# What it costs, and what the same costs others\n")
	p("Made by %s on %s; it took %s, of which %s were spent waiting for a quiet machine.\n",
		command(about), about.Date, about.Took, about.Waited)
	missing(p, results)
	p("| | |\n|---|---|")
	p("| machine | %s, %d CPUs, %d MB |", about.CPU, about.CPUs, about.MemoryMB)
	p("| system | %s, %s |", about.System, about.Kernel)
	p("| godsm | %s, %s |", about.Commit, about.Go)
	for _, name := range slices.Sorted(maps.Keys(about.Rivals)) {
		p("| %s | %s |", name, cell(about.Rivals[name]))
	}
	p("\nAll sides of a figure take turns, round by round, %d times. **Ratio** is what we take over what the rival "+
		"takes, round by round, the median of that: below 1 we are ahead. Then come the medians, with the least and "+
		"the most. *Pin* says where two processes ran: both on one CPU (same), on one each (diff), where the "+
		"scheduler put them (free). ⚠ marks what should not be trusted, and says why.\n", about.Repeats)
	summary(p, results)
	for _, c := range charts {
		p("![%s](%s)\n", c.Title, c.File)
	}
	for _, part := range inOrder(results) {
		p("## %s\n", part)
		table(p, slices.DeleteFunc(slices.Clone(results), func(r figure.Result) bool { return r.Part != part }))
	}
	return b.Bytes()
}

func command(about machine.About) string {
	if about.Quick {
		return "`go run -C bench . -quick` (short rounds: to see that it works, not for comparisons)"
	}
	return "`go run -C bench .`"
}

// missing names the rivals that were not measured, and why.
func missing(p func(string, ...any), results []figure.Result) {
	list := figure.MissingRivals(results)
	if len(list) == 0 {
		return
	}
	p("**Missing rivals**; goals against them are not judged:\n")
	for _, m := range list {
		p("- %s, %d figures: %s", m.Rival, m.Count, cell(m.Why))
	}
	p("")
}

// summary says which goals are met, what of the machine has a say in them, and where a rival is ahead.
func summary(p func(string, ...any), results []figure.Result) {
	type count struct{ met, all int }
	var ratios, all count
	decided := map[string]*count{} // by what of the machine has a say
	behind := []string{}
	for _, r := range results {
		if r.Met != nil {
			c := &ratios
			if r.Decided != "" {
				if decided[r.Decided] == nil {
					decided[r.Decided] = &count{}
				}
				c = decided[r.Decided]
			}
			for _, c := range []*count{c, &all} {
				c.all++
				if *r.Met {
					c.met++
				}
			}
		}
		if r.Ratio > 1 && r.Why == "" {
			behind = append(behind, fmt.Sprintf("%s: %s, %.2f", what(r), r.Rival, r.Ratio))
		}
	}
	p("Goals met: %d of %d that were measured. Figures that are marked as not to be trusted: %d of %d.\n",
		all.met, all.all, unstable(results), len(results))
	p("| what of the machine has a say | met | goals |\n|---|--:|--:|")
	p("| nothing: both sides run alone on one CPU | %d | %d |", ratios.met, ratios.all)
	for _, text := range slices.Sorted(maps.Keys(decided)) {
		p("| %s | %d | %d |", text, decided[text].met, decided[text].all)
	}
	p("")
	if len(behind) > 0 {
		p("A rival is ahead, and no reason is stated:\n\n- %s\n", strings.Join(behind, "\n- "))
	}
}

func unstable(results []figure.Result) (n int) {
	for _, r := range results {
		if r.Unstable != "" {
			n++
		}
	}
	return n
}

func what(r figure.Result) string {
	text := r.Part + ": " + r.Shape
	if r.Pin != "" {
		text += ", " + string(r.Pin)
	}
	return text
}

func inOrder(results []figure.Result) (parts []string) {
	for _, r := range results {
		if !slices.Contains(parts, r.Part) {
			parts = append(parts, r.Part)
		}
	}
	return parts
}

func table(p func(string, ...any), rows []figure.Result) {
	p("| what | pin | rival | ratio | goal | godsm | the rival | |\n|---|---|---|--:|---|--:|--:|---|")
	var ours *figure.Result
	for i := range rows {
		r := &rows[i]
		if r.Rival == figure.Ours {
			ours = r
			if r.Skipped == "" && r.Goal == "" && i+1 < len(rows) && rows[i+1].Shape == r.Shape &&
				rows[i+1].Pin == r.Pin {
				continue // it is in the rivals' rows
			}
			p("| %s | %s | | | %s | %s | | %s |", cell(r.Shape), r.Pin, goal(r), value(r), notes(r, nil))
			continue
		}
		beside := ours
		if beside != nil && (beside.Shape != r.Shape || beside.Pin != r.Pin) {
			beside = nil
		}
		p("| %s | %s | %s | %s | %s | %s | %s | %s |", cell(r.Shape), r.Pin, cell(r.Rival), ratio(r), goal(r),
			value(beside), value(r), notes(r, beside))
	}
	p("")
}

func ratio(r *figure.Result) string {
	switch {
	case r.Ratio == 0:
		return ""
	case r.Ratio < 0.095:
		return fmt.Sprintf("**%.3f**", r.Ratio)
	}
	return fmt.Sprintf("**%.2f**", r.Ratio)
}

func goal(r *figure.Result) string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return r.Goal + ": met"
	}
	return r.Goal + ": **missed**"
}

func value(r *figure.Result) string {
	if r == nil || r.Repeats == 0 {
		return ""
	}
	v, unit := r.Value()
	text := round.Show(v, unit)
	if r.Repeats > 1 {
		text += fmt.Sprintf(" (%s – %s)", round.Show(r.Min, unit), round.Show(r.Max, unit))
	}
	if r.MBPerS > 0 {
		text += "; " + rate(r.MBPerS)
	}
	return text
}

func notes(r, ours *figure.Result) string {
	var list []string
	if r.Skipped != "" {
		list = append(list, "skipped: "+r.Skipped)
	}
	if r.Unstable != "" {
		list = append(list, "⚠ "+r.Unstable)
	}
	if ours != nil && ours.Unstable != "" && ours.Unstable != r.Unstable {
		list = append(list, "⚠ ours: "+ours.Unstable)
	}
	if r.Why != "" {
		list = append(list, r.Why)
	}
	return cell(strings.Join(list, "; "))
}

// cell keeps text from breaking a table.
func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }
