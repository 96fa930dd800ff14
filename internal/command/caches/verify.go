package caches

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// VerifyRow is a line of cache verify.
type VerifyRow struct {
	Name     string   `json:"name"`
	Entries  int      `json:"entries"`
	Live     int      `json:"live"` // bytes of the entries' records
	Log      int      `json:"log"`  // bytes that there are for records
	Free     int      `json:"free_extents"`
	Index    int      `json:"index_extents"` // that the index has grown by
	Problems []string `json:"problems"`
}

func (a *app) cacheVerifyCommand() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "verify [NAME]",
		Short:             "Walk a cache, or all, and say what is wrong",
		Long: `Walk the cache of that name, or all, while they are used, and say what is wrong. What a dead process has left is repaired first.
The exit status is 1 if anything is wrong.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, rows, wrong := "", []VerifyRow{}, error(nil)
			if len(args) == 1 {
				if name = args[0]; name == "" {
					return fmt.Errorf("%w: the name of the cache is empty", cli.ErrUsage)
				}
			}
			err := a.withCaches(cmd.Context(), name, func(_ *dsm.Session, list []foundCache) error {
				for _, c := range list {
					r, err := c.Verify(cmd.Context())
					if err != nil {
						return err
					}
					if len(r.Wrong) > 0 {
						wrong = cli.ErrProblems
					}
					rows = append(rows, VerifyRow{c.info.Name, r.Entries, r.Live, r.Log, r.Free, r.Index, append([]string{}, r.Wrong...)})
				}
				return nil
			})
			if err != nil {
				return err
			}
			if a.JSON {
				return errors.Join(a.PrintJSON(rows), wrong)
			}
			err = cli.PrintTable(a.App, "NAME\tENTRIES\tLIVE\tLOG\tFREE\tINDEX\tPROBLEMS", rows, func(r VerifyRow) string {
				return fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%d\t%d", r.Name, r.Entries, cli.Size(int64(r.Live)), cli.Size(int64(r.Log)), r.Free, r.Index,
					len(r.Problems))
			})
			for _, r := range rows {
				for _, p := range r.Problems {
					_, werr := fmt.Fprintf(a.Stdout, "%s: %s\n", r.Name, p)
					err = errors.Join(err, werr)
				}
			}
			return errors.Join(err, wrong)
		},
	}
}
