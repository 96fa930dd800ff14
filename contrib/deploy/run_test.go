//go:build unix

package deploy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnitRuns does what systemd does with dsm.service, twice: it starts the very command line of the unit, hears that it is
// ready and that its watchdog is fed, and ends it. The second one finds the instance that the first has left.
func TestUnitRuns(t *testing.T) {
	b, err := os.ReadFile("dsm.service")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nExecStart=")
	line, _, ok := strings.Cut(rest, "\n")
	if !ok {
		t.Fatal("the unit starts nothing")
	}
	bin := filepath.Join(t.TempDir(), "dsmctl")
	build := exec.Command("go", "build", "-o", bin, "./cmd/dsmctl")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	home, err := os.MkdirTemp("", "dsm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	dir := filepath.Join(home, "instance")
	args := strings.Fields(strings.ReplaceAll(line, "/var/lib/dsm", dir))[1:]
	if !slices.Contains(args, dir) || !slices.Contains(args, "--leave") {
		t.Fatalf("ExecStart=%s", line)
	}
	socket := filepath.Join(home, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
	hear := func(want string) string {
		t.Helper()
		for buf := make([]byte, 4096); ; {
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if text := string(buf[:n]); slices.Contains(strings.Split(text, "\n"), want) {
				return text
			}
		}
	}
	for round, want := range []string{"generation 1", "generation 1", "generation 1"} {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if text := hear("READY=1"); !strings.Contains(text, want) {
			t.Errorf("start %d says %q, not %s", round, text, want)
		}
		hear("WATCHDOG=1")
		if out, err := exec.Command(bin, "status", "--dir", dir).CombinedOutput(); err != nil {
			t.Errorf("the health check of the manifest: %v: %s", err, out)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		hear("STOPPING=1")
		if err := cmd.Wait(); err != nil {
			t.Errorf("end %d: %v", round, err)
		}
	}
	if out, err := exec.Command(bin, "clean", "--dir", dir).CombinedOutput(); err == nil {
		t.Errorf("clean removes what was left: %s", out)
	}
	if out, err := exec.Command(bin, "clean", "--force", "--dir", dir).CombinedOutput(); err != nil {
		t.Errorf("clean --force: %v: %s", err, out)
	}
}
