//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
)

// TestSuperviseLeaves hands an instance from one command to the next: status says so in between, and what is pinned stays.
func TestSuperviseLeaves(t *testing.T) {
	p := newPlace(t)
	s := p.supervise("--leave")
	h := strings.TrimSpace(p.ok("create", "--pin", "hello"))
	_ = s.Cmd.Process.Signal(os.Interrupt)
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	out, errs, status := p.run("status")
	if status != 3 || !strings.Contains(out, ", left ") || !strings.Contains(errs, "has left it to the next one") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	if out, _, _ := p.run("status", "--json"); !strings.Contains(out, `"left":`) {
		t.Errorf("no field tells when it was left: %s", out)
	}
	p.supervise()
	if out := p.ok("status", "--json"); strings.Contains(out, `"left":`) {
		t.Errorf("it is left still: %s", out)
	}
	if got := p.ok("cat", h); got != "hello" {
		t.Errorf("the segment has %q", got)
	}
}
