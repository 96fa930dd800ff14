//go:build linux && failpoint

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestCureOfAStoppedHolder continues a process that was stopped with the control lock, as doctor and the error of those
// who wait for it say.
func TestCureOfAStoppedHolder(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	holder := p
	holder.env = append(p.env, "DSM_FAILPOINT=control/create/referenced=stop")
	h := holder.start("create", "held")
	instancetest.Eventually(t, "it is stopped", func() bool { return liveness.Stopped(h.Pid) })
	_, says, status := p.run("", "create", "x")
	if status == 0 || !strings.Contains(says, "that process is stopped: continue or kill it") {
		t.Fatalf("status %d, %s", status, says)
	}
	f := p.doctor()["control_lock"]
	if f.Status != doctor.Bites || f.Cure != fmt.Sprintf("kill -CONT %d", h.Pid) {
		t.Fatalf("%+v", f)
	}
	p.carryOut(f.Cure)
	h.Expect("") // it has its segment
	if f := p.doctor()["control_lock"]; f.Status != doctor.OK {
		t.Errorf("after the cure: %+v", f)
	}
	p.ok("create", "--pin", "x")
}
