package upkeep

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/instance"
	"github.com/spf13/cobra"
)

func (a *app) cleanCommand() *cobra.Command {
	var force, orphans bool
	cmd := &cobra.Command{
		Use:     "clean",
		GroupID: cli.Run,
		Short:   "Remove what a dead instance left; a living one is refused",
		Long: `Remove what a dead instance left in the system, and what dead private instances of this user left. Only what no
process uses is removed: a living instance is refused, and memory that a process elsewhere has open stays.

--force removes all that bears a life of the directory, also when it is in use: sessions that live are cut off from each other.
Only a running supervisor is refused.

--orphans removes, whatever the directory, memory of this user's instances that no process uses and no directory lists:
of a directory that was removed, or made anew, while its instance lived. Where another container shares the memory and
not the directory, its dead instances are orphans too.

Both say what they destroy before they do.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""}, // it cleans, and counts, itself
		RunE: func(cmd *cobra.Command, _ []string) error {
			if force && orphans {
				return fmt.Errorf("%w: --force and --orphans are two decisions: take one at a time", cli.ErrUsage)
			}
			clean := a.clean
			switch {
			case force:
				clean = a.cleanByForce
			case orphans:
				clean = a.cleanOrphans
			}
			removed, err := clean(cmd.Context())
			if err != nil {
				return err
			}
			if a.JSON {
				return a.PrintJSON(struct {
					Dir     string `json:"dir"`
					Removed int    `json:"removed"`
				}{a.Config.Dir, removed})
			}
			_, err = fmt.Fprintf(a.Stdout, "removed %d objects\n", removed)
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove all of the directory's lives, also those in use")
	cmd.Flags().BoolVar(&orphans, "orphans", false, "remove this user's memory that no process uses and no directory lists")
	return cmd
}

func (a *app) clean(ctx context.Context) (int, error) {
	return instance.Clean(ctx, a.Config.Dir, instance.Backends{}, instance.Who(a.Config.Application), a.Config.Logger)
}

func (a *app) cleanByForce(ctx context.Context) (int, error) {
	return instance.CleanByForce(ctx, a.Config.Dir, instance.Backends{}, instance.Who(a.Config.Application),
		a.Config.Logger, func(list []instance.Doom) {
			for _, d := range list {
				a.announce(d.What, d.Objects)
			}
		})
}

func (a *app) cleanOrphans(ctx context.Context) (removed int, err error) {
	list := instance.Orphans(ctx)
	for _, o := range list {
		a.announce(fmt.Sprintf("life %s of the instance that was in %s", o.Life, o.Dir), o.Objects)
	}
	for _, o := range list {
		n, err := o.Remove(ctx)
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// announce says on standard error, so that it does not mix with the result, what is about to be destroyed.
func (a *app) announce(what string, objects []string) {
	fmt.Fprintf(a.Stderr, "destroying %d objects of %s\n", len(objects), what)
	for _, o := range objects {
		fmt.Fprintf(a.Stderr, "  %s\n", o)
	}
}
