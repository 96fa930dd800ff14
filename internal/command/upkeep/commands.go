// Package upkeep has the commands that run an instance, examine it and clean up after it.
package upkeep

import (
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.superviseCommand(), here.showCommand(), here.verifyCommand(), here.cleanCommand(), here.doctorCommand()}
}
