package queues

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	queues "github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/spf13/cobra"
)

// Row is what batch shows of a queue.
type Row struct {
	Name string `json:"name"`
	queues.Stats
	Error string `json:"error,omitempty"`
}

func (a *app) batchCommand() *cobra.Command {
	var every time.Duration
	var asTable bool
	var list *cli.Listing[Row]
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(queues.Kind)),
		Use:               "batch [NAME]",
		GroupID:           cli.See,
		Short:             "Show the queues of package batch/shared: what waits, who leads, flushes, faults",
		Long: `Show the queue of package batch/shared of that name, or all: what waits and since when, which session leads, how many
commands and statements a flush has and how long it takes, retries, bisections, and commits without an answer.

It takes no lock and stores nothing, so it answers when all of the queue's processes are stuck.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for {
				rows, err := lookAt(cmd.Context(), a.Config, strings.Join(args, ""))
				if err == nil {
					err = a.printQueues(list, asTable || list.Chosen(), rows)
				}
				if err != nil || every <= 0 {
					return err
				}
				select {
				case <-time.After(every):
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
	list = cli.NewListing(cmd, Columns...)
	cmd.Flags().BoolVar(&asTable, "table", false, "a line for each queue; so with --columns, --no-header and --wide")
	cmd.Flags().DurationVar(&every, "every", 0, "show it again and again, with such a pause")
	return cmd
}

// lookAt looks at the queue of that name; "": at all.
func lookAt(ctx context.Context, cfg dsm.Config, name string) (rows []Row, err error) {
	rows = []Row{}
	s, err := survey.Find(ctx, cfg, queues.Kind, name)
	for _, q := range s.Queues {
		rows = append(rows, RowOf(q))
	}
	return rows, err
}

// RowOf returns the line for what was seen of a queue.
func RowOf(q survey.Queue) Row {
	row := Row{Name: q.Name, Stats: q.Stats}
	if q.Err != nil {
		row.Error = q.Err.Error()
	}
	return row
}

// Columns are those of the table.
var Columns = []cli.Column[Row]{
	{Name: "name", Heading: "NAME", Text: func(r Row) string { return r.Name }},
	cli.Count("waiting", "WAITING", func(r Row) int { return r.Waiting }),
	cli.Count("flushing", "FLUSHING", func(r Row) int { return r.Flushing }),
	cli.Count("slots", "SLOTS", func(r Row) int { return r.Slots }),
	cli.Time("oldest", "OLDEST", func(r Row) float64 { return r.Oldest.Seconds() }),
	{Name: "leader", Heading: "LEADER", Text: func(r Row) string {
		if r.Leader.Row < 0 {
			return "-"
		}
		return r.Leader.String()
	}},
	cli.Count("sessions", "SESSIONS", func(r Row) int { return r.Sessions }),
	cli.Count("commands", "COMMANDS", func(r Row) uint64 { return r.Commands }),
	cli.Count("failed", "FAILED", func(r Row) uint64 { return r.Failed }),
	cli.Count("commits", "COMMITS", func(r Row) uint64 { return r.Commits }),
	cli.Count("retries", "RETRIES", func(r Row) uint64 { return r.Retries }),
	{Name: "p99", Heading: "P99", Text: func(r Row) string { return r.P99.Round(10 * time.Microsecond).String() },
		Number: func(r Row) float64 { return r.P99.Seconds() }},
	{Name: "trouble", Heading: "TROUBLE", Text: func(r Row) string { return cmp.Or(r.Error, r.Trouble, "-") },
		Tint: func(r Row) cli.Tint {
			if r.Error != "" || r.Trouble != "" {
				return cli.Bad
			}
			return cli.Plain
		}},
	cli.Count("merged", "MERGED", func(r Row) uint64 { return r.Merged }).OnRequest(),
	cli.Count("bisected", "BISECTED", func(r Row) uint64 { return r.Bisected }).OnRequest(),
	cli.Count("unsettled", "UNSETTLED", func(r Row) uint64 { return r.Unsettled }).OnRequest(),
	cli.Count("takeovers", "TAKEOVERS", func(r Row) uint64 { return r.Takeovers }).OnRequest(),
}

func (a *app) printQueues(list *cli.Listing[Row], asTable bool, rows []Row) error {
	if a.JSON || asTable {
		return list.Show(a.App, rows)
	}
	for _, r := range list.Choose(rows) {
		text := r.Stats.String()
		if r.Error != "" {
			text = r.Error
		}
		if _, err := fmt.Fprintf(a.Stdout, "%s: %s\n", r.Name, strings.ReplaceAll(text, "\n", "\n  ")); err != nil {
			return err
		}
	}
	return nil
}
