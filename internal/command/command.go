// Package command assembles the commands that operators run. The programs below cmd add them to their own: each command has
// one implementation, in the packages below this one.
package command

import (
	"slices"

	"github.com/godsm/godsm/internal/command/caches"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/inspect"
	"github.com/godsm/godsm/internal/command/locks"
	"github.com/godsm/godsm/internal/command/queues"
	"github.com/godsm/godsm/internal/command/record"
	"github.com/godsm/godsm/internal/command/segments"
	"github.com/godsm/godsm/internal/command/top"
	"github.com/godsm/godsm/internal/command/upkeep"
	"github.com/spf13/cobra"
)

// All returns the commands.
func All(a *cli.App) []*cobra.Command {
	return slices.Concat(upkeep.Commands(a), inspect.Commands(a), segments.Commands(a), locks.Commands(a), caches.Commands(a),
		queues.Commands(a), top.Commands(a), record.Commands(a))
}
