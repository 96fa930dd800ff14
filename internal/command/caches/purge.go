package caches

import (
	"fmt"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

func (a *app) cachePurgeCommand() *cobra.Command {
	var tag, key string
	var keyOf func(string) ([]byte, error)
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "purge NAME",
		Short:             "Delete all entries of a cache, those with a tag, or one",
		Args:              cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			one, tagged := cmd.Flags().Changed("key"), cmd.Flags().Changed("tag")
			if one && tagged {
				return fmt.Errorf("%w: it takes one of --key and --tag", cli.ErrUsage)
			}
			k, err := keyOf(key)
			if err != nil {
				return err
			}
			return a.withCache(cmd.Context(), args[0], func(_ *dsm.Session, c *cache.Cache) error {
				switch {
				case tagged:
					return c.DeleteTag(tag)
				case !one:
					return c.Purge(cmd.Context())
				}
				found, err := c.Delete(cmd.Context(), k)
				if err == nil && !found {
					err = fmt.Errorf("%q has no entry with the key %q", args[0], key)
				}
				return err
			})
		},
	}
	keyOf = keyFlag(cmd)
	cmd.Flags().StringVar(&tag, "tag", "", "delete the entries that bear `TAG`")
	cmd.Flags().StringVar(&key, "key", "", "delete the entry of `KEY`")
	return cmd
}
