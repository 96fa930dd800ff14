// Package locks has the commands that show lock tables.
package locks

import (
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.locksCommand(), here.waitsCommand()}
}
