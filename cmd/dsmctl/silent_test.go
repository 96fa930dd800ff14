//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTerminalsAreNotAsked: a command whose standard output is a terminal sends no question to it. A terminal that does not answer, such as
// a serial line or the terminal of a container that no person is at, would hold each command up, and print the question.
func TestTerminalsAreNotAsked(t *testing.T) {
	script, err := exec.LookPath("script") // gives its command a terminal that answers nothing
	if err != nil {
		t.Skip("skipped: there is no script to make a terminal with")
	}
	p := newPlace(t)
	p.supervise()
	p.ok("create", "--pin", "x")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"version", "--help", "ls", "status", "top --once", "show", "cache ls"} {
		cmd := exec.Command(script, "-qec", exe+" "+args, "/dev/null")
		cmd.Env = append(p.env, "TERM=xterm-256color", "NO_COLOR=1")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "\x1b") || len(out) == 0 {
			t.Errorf("dsmctl %s: %v, %q", args, err, out)
		}
	}
}
