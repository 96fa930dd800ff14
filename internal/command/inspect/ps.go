package inspect

import (
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// SessionRow is a line of ps.
type SessionRow struct {
	Session    string  `json:"session"` // its name, as errors have it
	Pid        int     `json:"pid"`
	App        string  `json:"app"`
	State      string  `json:"state"`
	Segments   int     `json:"segments"`
	Bytes      uint64  `json:"bytes"`
	AgeSeconds float64 `json:"age_seconds"`
}

// SessionColumns are those of ps.
var SessionColumns = []cli.Column[SessionRow]{
	{Name: "session", Heading: "SESSION", Text: func(r SessionRow) string { return r.Session }, Whole: true},
	cli.Count("pid", "PID", func(r SessionRow) int { return r.Pid }),
	{Name: "application", Heading: "APPLICATION", Text: func(r SessionRow) string { return r.App }},
	{Name: "state", Heading: "STATE", Text: func(r SessionRow) string { return r.State }, Whole: true, Tint: func(r SessionRow) cli.Tint {
		switch r.State {
		case "running":
			return cli.Good
		case "dead", "unseen":
			return cli.Bad
		}
		return cli.Odd
	}},
	cli.Count("segments", "SEGMENTS", func(r SessionRow) int { return r.Segments }),
	cli.Count("bytes", "BYTES", func(r SessionRow) uint64 { return r.Bytes }),
	cli.Time("age", "AGE", func(r SessionRow) float64 { return r.AgeSeconds }),
}

// Sessions returns the lines for what was seen of an instance.
func Sessions(r dsm.Report) []SessionRow {
	rows := []SessionRow{}
	for _, s := range r.Sessions {
		rows = append(rows, SessionRow{s.Name, s.Pid, s.Application, s.State.String(), s.Segments, s.Bytes, cli.Age(s.Started)})
	}
	return rows
}

func (a *app) psCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ps",
		GroupID: cli.See,
		Short:   "List the sessions: which processes, and how much they hold",
		Long: `List the sessions: which processes, and how much they hold. SESSION is a session's name in errors: its row in
the process table, and how often that has been used.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.NoArgs,
	}
	list := cli.NewListing(cmd, SessionColumns...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := dsm.Inspect(cmd.Context(), a.Config)
		if err != nil {
			return cli.ErrIfUnsupervised(r.Status, err)
		}
		return cli.ErrIfUnsupervised(r.Status, list.Show(a.App, Sessions(r)))
	}
	return cmd
}
