package batchtest

import (
	"fmt"

	"github.com/godsm/godsm/batch"
)

// checkStep returns what is wrong with a step.
func checkStep(s batch.Step[Command, Result]) error {
	keys := map[string]bool{}
	for _, c := range s.Cmds {
		if keys[c.Key] || c.Op != s.Cmds[0].Op {
			return fmt.Errorf("a statement with commands that must not be together: %v", s.Cmds)
		}
		keys[c.Key] = true
	}
	if len(s.Cmds) == 0 || len(s.Res) != len(s.Cmds) || len(s.Errs) != len(s.Cmds) {
		return fmt.Errorf("a step of %d commands, %d results, %d errors", len(s.Cmds), len(s.Res), len(s.Errs))
	}
	return nil
}

// count returns how many commands steps have.
func count(steps []batch.Step[Command, Result]) (n int) {
	for _, s := range steps {
		n += len(s.Cmds)
	}
	return n
}
