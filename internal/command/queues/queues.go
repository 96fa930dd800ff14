package queues

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	queues "github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
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
	cmd := &cobra.Command{
		Use:   "batch [NAME]",
		Short: "Show the queues of package batch/shared: what waits, who leads, flushes, faults",
		Long: `Show the queue of package batch/shared of that name, or all: what waits and since when, which session leads, how many
commands and statements a flush has and how long it takes, retries, bisections, and commits without an answer.

It takes no lock and stores nothing, so it answers when all of the queue's processes are stuck.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for {
				rows, err := lookAt(cmd.Context(), a.Config, strings.Join(args, ""))
				if err == nil {
					err = a.printQueues(rows)
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
	cmd.Flags().DurationVar(&every, "every", 0, "show it again and again, with such a pause")
	return cmd
}

// lookAt looks at the queue of that name; "": at all.
func lookAt(ctx context.Context, cfg dsm.Config, name string) (rows []Row, err error) {
	rows = []Row{}
	err = dsm.Look(ctx, cfg, func(r dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil {
			return err
		}
		for _, x := range names {
			if x.Kind != queues.Kind || x.State != "ready" || name != "" && x.Name != name {
				continue
			}
			row := Row{Name: x.Name}
			b, err := read(x.Handle)
			if err == nil {
				row.Stats, err = queues.Read(shm.NewRegion(bytes.Clone(b)))
			}
			if err != nil {
				row.Error = err.Error()
			}
			rows = append(rows, row)
		}
		return nil
	})
	if err == nil && name != "" && len(rows) == 0 {
		err = errkind.As(fs.ErrNotExist, fmt.Errorf("there is no queue %q; dsmdemo ls lists all names", name))
	}
	return rows, err
}

func (a *app) printQueues(rows []Row) error {
	if a.JSON {
		return a.PrintJSON(rows)
	}
	for _, r := range rows {
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
