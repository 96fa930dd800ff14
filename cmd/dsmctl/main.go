// Command dsmctl runs and watches instances of godsm: the supervisor, who holds what, who waits for whom, what dead
// processes have left.
//
// Results go to stdout, logs to stderr. The exit status is 0; 1 for a failure, with one line on stderr that says why; 2 for
// wrong usage; 3 of status, ls and ps where no supervisor lives. A reader of stdout that has gone is no failure.
package main

import (
	"github.com/godsm/godsm/internal/command"
	"github.com/godsm/godsm/internal/command/cli"
)

func main() {
	cli.Program{Name: "dsmctl", Short: "Run and watch instances of shared memory", Commands: command.All}.Main()
}
