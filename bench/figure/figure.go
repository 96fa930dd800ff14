// Package figure says what a figure of the bench is: one thing, measured for us and for every rival that does the same.
package figure

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/bench/side"
)

// Figure is one thing to be measured. Its sides take turns, round by round.
type Figure struct {
	Part  string // "segments"
	Shape string // "create+detach 4 KiB, posix"
	Pin   side.Pin
	Bytes int      // that one operation moves, for MB/s; 0: none
	Names []string // of the numbers that a round answers with, if there are several ("p50", "p99"): a row each
	Unit  Unit
	Sides []Contender // ours comes first, if we have it
	Max   float64     // goal for our own figure, in its unit; 0: none
	Goal  string      // which of Names the goals are for; empty: the first
	// a round is a whole study with many repeats in it: there is only one, unless the others have more
	Once bool
}

// Unit is what a figure counts.
type Unit string

const (
	Nanoseconds Unit = "" // for one operation
	Percent     Unit = "percent"
	Bytes       Unit = "bytes"
)

// Ours is our name among the rivals.
const Ours = "godsm"

// Contender is one side of a figure.
type Contender struct {
	Rival string // Ours, or another program's name
	Open  func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error)
	Goal  float64 // our figure is to be at most that many times the rival's; 0: no goal
	Why   string  // if the rival is ahead: what keeps us from catching up
}

// Name names the figure on a command line.
func (f Figure) Name() string {
	if f.Pin == side.Alone {
		return f.Part + "/" + f.Shape
	}
	return fmt.Sprintf("%s/%s/%s", f.Part, f.Shape, f.Pin)
}

// Result is one figure of one side, a line of results.json.
type Result struct {
	Part    string   `json:"part"`
	Shape   string   `json:"shape"`
	Rival   string   `json:"rival"` // whose figure it is; "godsm" is ours
	Pin     side.Pin `json:"pin"`   // where two processes ran: same CPU, diff CPUs, free; empty for one process
	NsPerOp float64  `json:"ns_per_op,omitempty"`
	MBPerS  float64  `json:"mb_per_s,omitempty"` // 10^6 bytes
	Percent float64  `json:"percent,omitempty"`  // in place of ns_per_op, where no time is measured
	Bytes   float64  `json:"bytes,omitempty"`    // likewise
	Min     float64  `json:"min"`                // of the repeats; as ns_per_op (percent, bytes), which is their median
	Max     float64  `json:"max"`
	Repeats int      `json:"repeats"` // 0: it was skipped
	// Ratio is our ns_per_op (or percent) over this rival's, round by round, and of those the
	// median: below 1 we are ahead. 0 in our own row.
	Ratio float64 `json:"ratio,omitempty"`
	Goal  string  `json:"goal,omitempty"`
	Met   *bool   `json:"met,omitempty"`
	// Decided says what of the machine decides, beside both programs, whether the goal is met; empty if the goal is a
	// ratio of two that run alone, which carries over from machine to machine.
	Decided  string `json:"decided,omitempty"`
	Unstable string `json:"unstable,omitempty"` // why not to trust it
	Skipped  string `json:"skipped,omitempty"`  // why there is none
	Why      string `json:"why,omitempty"`      // why the rival is ahead
}

// Value returns the figure, and its unit.
func (r Result) Value() (float64, Unit) {
	switch {
	case r.Percent != 0:
		return r.Percent, Percent
	case r.Bytes != 0:
		return r.Bytes, Bytes
	}
	return r.NsPerOp, Nanoseconds
}

// Missing is a rival that could not be measured.
type Missing struct {
	Rival string
	Why   string // of the first of its figures that was skipped
	Count int    // of its figures, how many were skipped
}

// MissingRivals returns the rivals of which a figure was skipped, in the order of the report.
func MissingRivals(results []Result) (list []Missing) {
	at := map[string]int{}
	for _, r := range results {
		if r.Skipped == "" || r.Rival == Ours {
			continue
		}
		i, known := at[r.Rival]
		if !known {
			i = len(list)
			at[r.Rival] = i
			list = append(list, Missing{Rival: r.Rival, Why: r.Skipped})
		}
		list[i].Count++
	}
	return list
}
