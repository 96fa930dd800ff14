//go:build unix

package supervisor_test

import (
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestDeathsAreToldLateToOneThatWasStopped: whatever became of the rows in between.
func TestDeathsAreToldLateToOneThatWasStopped(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		sup, _ := e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.mourner(), e.mourner()
		victim := e.mourner()
		noErr(t, a.Stop())
		dead := []*mourner{victim}
		victim.Kill()
		b.died(t, victim)
		for range 3 { // the same row is used by others, who close and die
			if err := e.mourner().Close(); err != nil {
				t.Error(err)
			}
			m := e.mourner()
			m.Kill()
			b.died(t, m)
			dead = append(dead, m)
		}
		sup.Kill()
		_, _ = e.supervise("dynamic_shared_memory_type", backend)
		noErr(t, a.Cmd.Process.Signal(syscall.SIGCONT))
		a.died(t, dead...)
		last := e.mourner()
		last.Kill()
		a.died(t, last)
	})
}
