package main

import "github.com/spf13/cobra"

// cacheCommand is the parent of what is about caches.
func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Replay a trace of accesses through a cache",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheReplayCommand())
	return cmd
}
