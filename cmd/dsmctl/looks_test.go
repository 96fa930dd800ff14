//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

// TestLooksNeedNoRow runs each command that only looks while the table of processes is full and a session is stopped.
func TestLooksNeedNoRow(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "DSM_MAX_PROCESSES=2")
	p.supervise()
	p.ok("cache", "set", "--create", "2MB", "pages", "k", "v")
	one, two := proctest.Run(t, p.command("create", "one")), proctest.Run(t, p.command("create", "two"))
	handle := one.Expect("")
	two.Expect("")
	if err := one.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := p.run("cache", "get", "pages", "k"); status == 0 || !strings.Contains(errs, "max_processes") {
		t.Fatalf("the table is not full: status %d, %s", status, errs)
	}
	for command, want := range map[string]string{
		"status": "2 of 2", "ls": handle, "ps": "stopped", "names": "pages", "locks": "TABLE", "waits": "SEGMENT", "batch --table": "NAME", "events": "joined", "top --once": "pages",
		"cache ls": "pages", "cache stats pages": "2 MB", "cache curve pages": "too little is known", "cache top --times 1 --interval 10ms": "pages",
		"cat " + handle: "one", "dump " + handle: "one", "instances": p.dir,
	} {
		if got := p.ok(strings.Fields(command)...); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in %q", command, want, got)
		}
	}
}
