package segments

import (
	"context"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

func (a *app) pinCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "pin HANDLE",
		GroupID:           cli.Hold,
		ValidArgsFunction: a.First(a.Handles),
		Short:             "Put a segment into the instance's keeping: it stays when its last session has ended",
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := cli.ParseHandle(args[0])
			if err != nil {
				return err
			}
			return a.inSession(cmd.Context(), func(ctx context.Context, s *dsm.Session) error {
				g, err := s.Attach(ctx, s.Owner(), h)
				if err != nil {
					return err
				}
				return g.Pin(ctx)
			})
		},
	}
}

func (a *app) unpinCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "unpin HANDLE",
		GroupID:           cli.Hold,
		ValidArgsFunction: a.First(a.Handles),
		Short:             "Take a segment out of the instance's keeping",
		Long: `Take a segment out of the instance's keeping. Its memory and its row come back when the last session that has
it attached detaches it or ends; at once if none has. A segment that belongs to a name is refused: rm NAME takes all of that away.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := cli.ParseHandle(args[0])
			if err != nil {
				return err
			}
			return a.inSession(cmd.Context(), func(ctx context.Context, s *dsm.Session) error {
				t, err := a.findToRemove(ctx, h.String())
				if err != nil {
					return err
				}
				return s.Unpin(ctx, t.Handle)
			})
		},
	}
}
