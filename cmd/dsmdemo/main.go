// Command dsmdemo lets anyone try godsm from a terminal: run an instance, put bytes in segments and
// read them from other processes, see who holds what, kill a process, and see that nothing is left.
//
// Results go to stdout, logs to stderr. The exit status is 0; 1 for a failure, with one line on
// stderr that says why; 2 for wrong usage; 3 of status, ls and ps where no supervisor lives. A reader of stdout that has
// gone is no failure.
//
// It has all commands of dsmctl, and besides those that try things out: demo, sort, crash.
package main

import (
	"github.com/godsm/godsm/internal/command"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/parallel"
	"github.com/spf13/cobra"
)

func main() {
	parallel.Main()
	cli.Program{
		Name:        "dsmdemo",
		PlainErrors: true,
		Short:       "PostgreSQL-style dynamic shared memory, from a terminal",
		Commands: func(a *cli.App) []*cobra.Command {
			here := &app{a}
			return append(command.All(a), here.sortCommand(), here.demoCommand(), here.holdCommand(), here.crashCommand(),
				here.crashWorkerCommand())
		},
	}.Main()
}

// app is what the commands of this program work with.
type app struct{ *cli.App }
