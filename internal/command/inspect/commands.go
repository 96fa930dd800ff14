// Package inspect has the commands that look at an instance from outside: they take no row and no lock, so they answer when nothing else does.
package inspect

import (
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.lsCommand(), here.psCommand(), here.statusCommand(), here.namesCommand(), here.instancesCommand()}
}
