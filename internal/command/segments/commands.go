// Package segments has the commands that make, read, keep and give up segments.
package segments

import (
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.createCommand(), here.readCommand(), here.catCommand(), here.dumpCommand(), here.pinCommand(), here.unpinCommand(),
		here.rmCommand()}
}
