//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// terminal is a terminal that a test drives and reads.
type terminal struct {
	t      *testing.T
	socket string
}

// tmux runs one of its commands.
func (x terminal) tmux(args ...string) string {
	x.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", x.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// newTerminal runs a command in a terminal of that size. When it has ended its exit status stands on the screen.
func newTerminal(t *testing.T, p place, width, height int, args ...string) terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("skipped: there is no tmux to drive a terminal with")
	}
	dir, err := os.MkdirTemp("", "tmux") // a short path, for a socket
	if err != nil {
		t.Fatal(err)
	}
	x := terminal{t, filepath.Join(dir, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", x.socket, "kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tmux", "-S", x.socket, "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		exe+" "+strings.Join(args, " ")+"; echo the status is $?; cat")
	cmd.Env = append(p.env, "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("skipped: tmux does not run here: %v: %s", err, out)
	}
	return x
}

// shows waits until all of that is on the screen.
func (x terminal) shows(wants ...string) (screen string) {
	x.t.Helper()
	for _, w := range wants {
		instancetest.Eventually(x.t, w+" is on the screen", func() bool {
			screen = x.tmux("capture-pane", "-p")
			return strings.Contains(screen, w)
		})
	}
	return screen
}

func (x terminal) press(keys ...string) { x.tmux(append([]string{"send-keys"}, keys...)...) }

// TestTopInATerminal drives the live screen while a holder is stopped and the table of processes is full, until the instance ends.
func TestTopInATerminal(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "DSM_MAX_PROCESSES=2")
	s := p.supervise()
	one, two := proctest.Run(t, p.command("create", "one")), proctest.Run(t, p.command("create", "--size", "3MB", "two"))
	h1, h2 := one.Expect(""), two.Expect("")
	if err := one.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	x := newTerminal(t, p, 120, 24, "top", "--interval", "200ms")
	x.shows("[1 sessions]", "sessions 2 of 2, 1 stopped", fmt.Sprint(one.Pid), fmt.Sprint(two.Pid), "q quit")
	x.press("2")
	screen := x.shows("[2 segments]", h1, h2)
	if strings.Index(screen, h2) > strings.Index(screen, h1) {
		t.Errorf("the largest segment is not the first:\n%s", screen)
	}
	for line := range strings.Lines(screen) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 120 {
			t.Errorf("a line of %d: %s", n, line)
		}
	}
	t.Logf("the screen:\n%s", screen)
	x.press("/")
	x.press("size<1MB", "Enter")
	if screen := x.shows("filter: size<1MB", "1 lines by size"); strings.Contains(screen, h2) {
		t.Errorf("it is not filtered:\n%s", screen)
	}
	x.press("Enter")
	x.shows("sessions that hold it:", fmt.Sprintf("process %d (dsmctl create)", one.Pid))
	x.press("Escape")
	x.shows("filter: size<1MB")
	x.press("1")
	two.Kill()
	x.shows("sessions 1 of 2, 1 stopped")
	x.press("e")
	x.shows("[7 events]", "died", "joined", "began")
	one.Kill()
	_ = s.Cmd.Process.Signal(syscall.SIGTERM)
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	x.shows("since then: ", "no running instance")
	x.press("q")
	x.shows("the status is 0")
}

// TestTablesFitATerminal cuts lines to the terminal's width, and colours them unless NO_COLOR is set.
func TestTablesFitATerminal(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	p.ok("create", "--pin", "x")
	x := newTerminal(t, p, 60, 10, "ls")
	screen := x.shows("HANDLE", "the status is 0")
	if lines := strings.Split(screen, "\n"); len([]rune(lines[0])) > 60 || strings.Contains(screen, "/dev/shm") || !strings.HasPrefix(lines[2], "the status is 0") {
		t.Errorf("the lines are not cut to the width:\n%s", screen)
	}
	if got := x.tmux("capture-pane", "-p", "-e"); !strings.Contains(got, "\x1b[1mHANDLE") {
		t.Errorf("no colours: %q", got)
	}
	p.env = append(p.env, "NO_COLOR=1")
	x = newTerminal(t, p, 60, 10, "ls")
	x.shows("the status is 0")
	if got := x.tmux("capture-pane", "-p", "-e"); strings.Contains(got, "\x1b[1m") {
		t.Errorf("colours in spite of NO_COLOR: %q", got)
	}
}
