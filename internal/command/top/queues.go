package top

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/queues"
	"github.com/godsm/godsm/internal/survey"
)

// queueRow is a line of the queues.
type queueRow struct {
	queues.Row
	CommandRate float64 `json:"commands_per_second"`
	CommitRate  float64 `json:"commits_per_second"`
}

var queueColumns = []cli.Column[queueRow]{
	{Name: "name", Heading: "NAME", Text: func(r queueRow) string { return r.Name }},
	cli.Count("waiting", "WAITING", func(r queueRow) int { return r.Waiting }),
	cli.Count("flushing", "FLUSHING", func(r queueRow) int { return r.Flushing }),
	cli.Count("slots", "SLOTS", func(r queueRow) int { return r.Slots }),
	cli.Time("oldest", "OLDEST", func(r queueRow) float64 { return r.Oldest.Seconds() }),
	{Name: "commands", Heading: "COMMANDS/S", Text: func(r queueRow) string { return fmt.Sprintf("%.0f", r.CommandRate) },
		Number: func(r queueRow) float64 { return r.CommandRate }},
	{Name: "commits", Heading: "COMMITS/S", Text: func(r queueRow) string { return fmt.Sprintf("%.0f", r.CommitRate) },
		Number: func(r queueRow) float64 { return r.CommitRate }},
	{Name: "leader", Heading: "LEADER", Text: func(r queueRow) string {
		if r.Leader.Row < 0 {
			return "-"
		}
		return r.Leader.String()
	}},
	{Name: "p99", Heading: "P99", Text: func(r queueRow) string { return r.P99.Round(10 * time.Microsecond).String() },
		Number: func(r queueRow) float64 { return r.P99.Seconds() }},
	cli.Count("failed", "FAILED", func(r queueRow) uint64 { return r.Failed }),
	{Name: "trouble", Heading: "TROUBLE", Text: func(r queueRow) string { return cmp.Or(r.Error, r.Trouble, "-") }, Tint: func(r queueRow) cli.Tint {
		if r.Error != "" || r.Trouble != "" {
			return cli.Bad
		}
		return cli.Faint
	}},
}

func queueLines() view {
	return &sheet[queueRow]{
		title: "queues", columns: queueColumns, by: indexOf(queueColumns, "waiting"), down: true,
		lines: func(now, before *picture) (rows []queueRow) {
			old, seconds := map[string]survey.Queue{}, now.Since(before)
			if before != nil {
				for _, q := range before.Queues {
					old[q.Name] = q
				}
			}
			for _, q := range now.Queues {
				r := queueRow{Row: queues.RowOf(q)}
				if b, ok := old[q.Name]; ok {
					r.CommandRate, r.CommitRate = rate(q.Stats.Commands, b.Stats.Commands, seconds), rate(q.Stats.Commits, b.Stats.Commits, seconds)
				}
				rows = append(rows, r)
			}
			return rows
		},
		key: func(r queueRow) string { return r.Name },
		look: func(r queueRow, _ *picture) []string {
			return append([]string{""}, strings.Split(r.Stats.String(), "\n")...)
		},
	}
}
