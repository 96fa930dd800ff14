package inspect

import (
	"fmt"

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

func (a *app) psCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List the sessions: which processes, and how much they hold",
		Long: `List the sessions: which processes, and how much they hold. SESSION is a session's name in errors: its row in
the process table, and how often that has been used.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := dsm.Inspect(cmd.Context(), a.Config)
			if err != nil {
				return cli.Probed(r.Status, err)
			}
			rows := []SessionRow{}
			for _, s := range r.Sessions {
				rows = append(rows, SessionRow{s.Name, s.Pid, s.Application, s.State, s.Segments, s.Bytes, cli.Age(s.Started)})
			}
			if a.JSON {
				return cli.Probed(r.Status, a.PrintJSON(rows))
			}
			err = cli.PrintTable(a.Stdout, "SESSION\tPID\tAPPLICATION\tSTATE\tSEGMENTS\tBYTES\tAGE",
				rows, func(r SessionRow) string {
					return fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%d\t%s", r.Session, r.Pid, r.App, r.State, r.Segments,
						r.Bytes, cli.Seconds(r.AgeSeconds))
				})
			return cli.Probed(r.Status, err)
		},
	}
}
