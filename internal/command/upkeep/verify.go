package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/spf13/cobra"
)

// VerifyRow is a line of verify: a named area.
type VerifyRow struct {
	Name       string     `json:"name"`
	Kind       string     `json:"kind"`
	Handle     dsm.Handle `json:"handle"`
	Bytes      int64      `json:"bytes"` // of all segments: used, free and overhead together
	Used       int64      `json:"used"`
	Free       int64      `json:"free"`
	Overhead   int64      `json:"overhead"`
	Straggling int64      `json:"straggling"` // of free: in spans that stragglers keep
	Stragglers int        `json:"stragglers"` // objects in spans of which at most a quarter is allocated
	Segments   int        `json:"segments"`
	Sessions   int        `json:"sessions"` // that have it attached, this command not among them
	Objects    int        `json:"objects"`
	Entries    int        `json:"entries,omitempty"` // of a hash table
	Dead       int        `json:"dead"`              // sessions that had died, and whose caches went back
	Lost       int        `json:"lost"`              // objects in their hands, that were freed
	Problems   []string   `json:"problems"`
}

func (a *app) verifyCommand() *cobra.Command {
	var patience time.Duration
	cmd := &cobra.Command{
		Use:               "verify [NAME]",
		GroupID:           cli.Examine,
		ValidArgsFunction: a.First(a.Names),
		Short:             "Walk the areas that have names and say what is wrong in them",
		Long: `Walk the area or hash table of that name, or all that have names, while they are used: give back what
dead sessions had in their hands, count, and say what is wrong. The exit status is 1 if anything is.

HELD is what of FREE stragglers keep: objects (STRAGGLERS of them) that stay in spans of which at most a quarter is
allocated. Objects of their own sizes can have it, others can't before those are freed.

A lock that another session holds for longer than --timeout is an error that names the session: ps lists them.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := dsm.Open(cmd.Context(), a.Config)
			if err != nil {
				return err
			}
			defer s.Close()
			ctx, cancel := cmd.Context(), func() {}
			if patience > 0 {
				ctx, cancel = context.WithTimeoutCause(ctx, patience,
					fmt.Errorf("verify has waited for %v: %w", patience, context.DeadlineExceeded))
			}
			defer cancel()
			rows, err := verify(ctx, s, args)
			if err != nil {
				return err
			}
			return errors.Join(a.printVerified(rows), s.Close())
		},
	}
	cmd.Flags().DurationVar(&patience, "timeout", 30*time.Second, "how long all of it may take; 0: as long as it takes")
	return cmd
}

func verify(ctx context.Context, s *dsm.Session, names []string) ([]VerifyRow, error) {
	list, err := registry.List(ctx, s)
	if err != nil {
		return nil, err
	}
	rows := []VerifyRow{}
	for _, x := range list {
		if len(names) > 0 && names[0] != x.Name || !x.InArea || x.State != registry.StateReady {
			continue
		}
		row, err := verifyOne(ctx, s, x)
		if errors.Is(err, dsm.ErrNotFound) { // deleted this moment
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.Name, err)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 && len(names) > 0 {
		return nil, fmt.Errorf("there is no area or hash table with the name %q: ls lists the names", names[0])
	}
	return rows, nil
}

func verifyOne(ctx context.Context, s *dsm.Session, x registry.Info) (row VerifyRow, err error) {
	h, err := area.Attach(ctx, s, s.Owner(), x.Handle)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, h.Detach()) }()
	r, err := h.Verify(ctx)
	if row = verified(x, r); err != nil || x.Kind != "hash" {
		return row, err
	}
	t, err := dshash.VerifyAt(ctx, h, x.Table)
	if err != nil {
		t.Problems = append(t.Problems, err.Error())
	}
	row.Entries, row.Problems = t.Entries, append(row.Problems, t.Problems...)
	return row, nil
}

func verified(x registry.Info, r dsa.Report) VerifyRow {
	return VerifyRow{
		Name: x.Name, Kind: x.Kind, Handle: x.Handle, Bytes: r.Total, Used: r.Used, Free: r.Free,
		Overhead: r.Overhead, Straggling: r.Straggling, Stragglers: r.Stragglers, Segments: r.Segments, Sessions: r.Sessions - 1, Objects: r.Objects, Dead: r.Dead,
		Lost: r.Lost, Problems: append([]string{}, r.Problems...),
	}
}

func (a *app) printVerified(rows []VerifyRow) error {
	err := error(nil)
	for _, r := range rows {
		if len(r.Problems) > 0 {
			err = cli.ErrProblems
		}
	}
	if a.JSON {
		return errors.Join(a.PrintJSON(rows), err)
	}
	perr := cli.PrintTable(a.App,
		"NAME\tKIND\tPROBLEMS\tBYTES\tUSED\tFREE\tHELD\tSTRAGGLERS\tOVERHEAD\tSEGMENTS\tSESSIONS\tOBJECTS\tENTRIES\tDEAD\tLOST",
		rows, func(r VerifyRow) string {
			return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d", r.Name, r.Kind, len(r.Problems), cli.Size(r.Bytes),
				cli.Size(r.Used), cli.Size(r.Free), cli.Size(r.Straggling), r.Stragglers, cli.Size(r.Overhead), r.Segments, r.Sessions, r.Objects, r.Entries,
				r.Dead, r.Lost)
		})
	for _, r := range rows {
		for _, p := range r.Problems {
			_, werr := fmt.Fprintf(a.Stdout, "%s: %s\n", r.Name, p)
			perr = errors.Join(perr, werr)
		}
	}
	return errors.Join(perr, err)
}
