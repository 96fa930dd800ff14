//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

func (p place) conf(text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "dsm.conf"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// TestFaultyConfStopsNoLook: a fault in dsm.conf, which the running supervisor has not read, keeps no command from looking, and so no probe;
// what would begin by it is refused, with the status of a wrong setting.
func TestFaultyConfStopsNoLook(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	p.ok("cache", "set", "--create", "2MB", "pages", "k", "v")
	p.conf("max_segmentz = 5\nmax_memory = banana\n")
	for _, look := range []string{"status", "ls", "ps", "names", "locks", "waits", "batch", "cache ls", "cache stats pages", "events", "top --once", "instances"} {
		p.ok(strings.Fields(look)...)
	}
	for _, args := range []string{"create --pin x", "show", "-c max_segments=77 status"} {
		if _, errs, status := p.run(strings.Fields(args)...); status != 2 || strings.Contains(errs, "--help") {
			t.Errorf("%s: status %d, %s", args, status, errs)
		}
	}
	other := newPlace(t)
	if err := os.Mkdir(other.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	other.conf("max_memory = much\n")
	if _, errs, status := other.run("supervise"); status != 2 || !strings.Contains(errs, "dsm.conf:1") {
		t.Errorf("supervise: status %d, %s", status, errs)
	}
	if out, _, status := p.run("doctor"); status != 1 || !strings.Contains(out, `there is no setting "max_segmentz"`) {
		t.Errorf("doctor: status %d, %s", status, out)
	}
}

// TestConfThatWaits: limits can't change under living memory, so a supervisor that adopts it says which settings of dsm.conf wait, and so
// does doctor. When the instance has begun anew they hold.
func TestConfThatWaits(t *testing.T) {
	p := newPlace(t)
	end := func(s *proctest.Process) {
		t.Helper()
		_ = s.Cmd.Process.Signal(syscall.SIGTERM)
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}
	const waits = "max_memory = 1GB, but the running instance has 0"
	end(p.supervise("--leave"))
	p.conf("max_memory = 1GB\n")
	s := p.supervise("--leave")
	if out, _, _ := p.run("doctor"); !strings.Contains(out, "settings_waiting") || !strings.Contains(out, waits) {
		t.Errorf("doctor: %s", out)
	}
	end(s)
	if log := s.Stderr(); !strings.Contains(log, waits) || !strings.Contains(log, "settings-waiting") {
		t.Errorf("the supervisor logs: %s", log)
	}
	p.ok("clean", "--force")
	p.supervise("--leave")
	if out, _, _ := p.run("doctor"); strings.Contains(out, "settings_waiting") {
		t.Errorf("doctor, when it has begun anew: %s", out)
	}
	if out := p.ok("status"); !strings.Contains(out, "of 1 GB") && !strings.Contains(out, "1 GB") {
		t.Errorf("status: %s", out)
	}
}
