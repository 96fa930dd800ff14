package shmsync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"golang.org/x/sys/unix"
)

func init() { proctest.Register("sleeper", sleeperHelper) }

// sleeperHelper sleeps on the condition until the number is set.
func sleeperHelper(c *proctest.Child) error {
	s, _, _, err := onStage(c)
	if err != nil {
		return err
	}
	c.Say("ready")
	if err := waitUntil(ctx, &s.Cond, func() bool { return s.Numbers[0].Load() != 0 }); err != nil {
		return err
	}
	c.Say("woken")
	return nil
}

// threadFiles reads a file of each thread of a process.
func threadFiles(t *testing.T, pid int, name string) (list []string) {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, name))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		switch {
		case err == nil:
			list = append(list, string(b))
		case os.IsPermission(err):
			t.Skip("skipped:", err)
		}
	}
	if len(list) == 0 {
		t.Skipf("skipped: the system does not tell %s of a thread", name)
	}
	return list
}

// sleepsShared reports whether a thread of the process sleeps on a futex that processes share.
func sleepsShared(t *testing.T, pid int) bool {
	const waitv = 449 // on every architecture
	for _, f := range threadFiles(t, pid, "syscall") {
		if strings.HasPrefix(f, fmt.Sprintf("%d ", waitv)) {
			return true
		}
		if x := strings.Fields(f); len(x) > 2 && x[0] == fmt.Sprint(unix.SYS_FUTEX) && x[2] == "0x0" { // FUTEX_WAIT, not private
			return true
		}
	}
	return false
}

// isStopped reports whether each thread of the process is.
func isStopped(t *testing.T, pid int) bool {
	for _, f := range threadFiles(t, pid, "stat") {
		if at := strings.LastIndexByte(f, ')'); !strings.HasPrefix(f[at+1:], " T") {
			return false
		}
	}
	return true
}

// TestCondSignalNotTakenByStopped: a process that was stopped in its sleep takes no wake-up, since a signal ends the
// sleep in the kernel: Signal finds no sleeper and clears the bit, so those who are asleep get all. When it goes on it
// finds the news.
func TestCondSignalNotTakenByStopped(t *testing.T) {
	dir, s, _ := newStage(t)
	p := startOnStage(t, "sleeper", dir, 1)
	for !sleepsShared(t, p.Pid) {
		time.Sleep(time.Millisecond)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	for !isStopped(t, p.Pid) {
		time.Sleep(time.Millisecond)
	}
	if !s.Cond.MayBeAsleep() {
		t.Error("the sleeper has not said that it sleeps")
	}
	s.Cond.Signal()
	if s.Cond.MayBeAsleep() {
		t.Error("a process that is stopped has taken the wake-up of another")
	}
	s.Numbers[0].Store(1)
	if err := p.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.Expect("woken")
}
