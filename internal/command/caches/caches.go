package caches

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// cacheCommand returns the parent of the commands for caches.
func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "cache",
		GroupID:     cli.See,
		Short:       "List caches, look into them, change them; replay a trace of accesses",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""},
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheLsCommand(), a.cacheStatsCommand(), a.cacheTopCommand(), a.cacheGetCommand(), a.cacheSetCommand(),
		a.cachePurgeCommand(), a.cacheCurveCommand(), a.cacheVerifyCommand(), a.cacheReplayCommand())
	return cmd
}

// foundCache is a cache that was found by its name.
type foundCache struct {
	*cache.Cache
	info registry.Info
}

// findCaches opens the cache of that name, or all if the name is empty.
func findCaches(ctx context.Context, s *dsm.Session, name string) (list []foundCache, err error) {
	names, err := registry.List(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, x := range names {
		if x.Kind != cache.Kind || x.State != registry.StateReady || name != "" && x.Name != name {
			continue
		}
		c, err := cache.Open(ctx, s, x.Name, cache.Options{Limit: max(x.Size, cache.MinLimit), Version: x.Version})
		if errors.Is(err, dsm.ErrNotFound) { // deleted this moment
			continue
		}
		if err != nil {
			return list, err
		}
		list = append(list, foundCache{c, x})
	}
	if len(list) == 0 && name != "" {
		return nil, fmt.Errorf("there is no cache %q: names lists what there is", name)
	}
	return list, nil
}

// withCaches calls f in a session, with the cache of that name, or all.
func (a *app) withCaches(ctx context.Context, name string, f func(s *dsm.Session, list []foundCache) error) error {
	s, err := dsm.Open(ctx, a.Config)
	if err != nil {
		return err
	}
	list, err := findCaches(ctx, s, name)
	if err == nil {
		err = f(s, list)
	}
	for _, c := range list {
		err = errors.Join(err, c.Close())
	}
	return errors.Join(err, s.Close())
}

// withCache calls f with one cache.
func (a *app) withCache(ctx context.Context, name string, f func(s *dsm.Session, c *cache.Cache) error) error {
	if name == "" {
		return fmt.Errorf("%w: the name of the cache is empty", cli.ErrUsage)
	}
	return a.withCaches(ctx, name, func(s *dsm.Session, list []foundCache) error { return f(s, list[0].Cache) })
}
