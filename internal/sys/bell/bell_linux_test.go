package bell

import (
	"os"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

// TestNetworkNamespace: who can't be reached is not said to have been rung.
func TestNetworkNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root may make a network namespace")
	}
	s := newSleeper(t)
	cmd := proctest.Command("ringer")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	p := proctest.Run(t, cmd)
	p.Send("%d", s.Name())
	p.Expect("false")
}
