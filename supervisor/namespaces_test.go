//go:build linux

package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// rerun runs the test that calls it once more, in a process with namespaces of its own.
func rerun(t *testing.T, flags uintptr) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.SysProcAttr = namespaces(flags)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("skipped: this user may not make namespaces")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// namespaces are for a new process; a process that is not root becomes it in a user namespace.
func namespaces(flags uintptr) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: flags}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

func init() {
	proctest.Register("with pid", withPidHelper)
	proctest.Register("session as", func(c *proctest.Child) error {
		if c.Args[1] != strconv.Itoa(os.Getpid()) {
			os.Exit(otherPid)
		}
		return sessionHelper(c)
	})
}

const otherPid = 3 // exit status

// startIn runs a helper in namespaces of its own.
func startIn(t *testing.T, flags uintptr, name string, args ...string) *proctest.Process {
	t.Helper()
	cmd := proctest.Command(name, args...)
	cmd.SysProcAttr = namespaces(flags)
	if flags == 0 {
		cmd.SysProcAttr = nil
	}
	return proctest.Run(t, cmd)
}

func needNamespaces(t *testing.T, flags uintptr) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = namespaces(flags)
	if err := cmd.Run(); err != nil {
		t.Skipf("skipped: this user may not make namespaces: %v", err)
	}
}

// TestPidNamespaces: sessions that are all process 1, each where it lives, are told apart, living
// and dead, also by a supervisor that is process 1 too.
func TestPidNamespaces(t *testing.T) {
	needNamespaces(t, syscall.CLONE_NEWPID)
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		sup, _ := e.supervise("dynamic_shared_memory_type", backend)
		join := func() *proctest.Process {
			p := startIn(t, syscall.CLONE_NEWPID, "session", e.dir)
			p.Expect("open")
			e.create(p, 100, 10)
			return p
		}
		living := func(sessions int) {
			t.Helper()
			instancetest.Eventually(t, fmt.Sprintf("%d sessions live", sessions), func() bool {
				r := e.report()
				return len(r.Sessions) == sessions && len(r.Segments) == 10*sessions && e.objects() == 10*sessions
			})
			for _, s := range e.report().Sessions {
				if s.Pid != 1 || s.State != "running" {
					t.Errorf("%+v", s)
				}
			}
		}
		fine := func(ps ...*proctest.Process) {
			t.Helper()
			for _, p := range ps {
				check(p)
			}
		}
		a, b, c := join(), join(), join()
		living(3)
		a.Kill()
		living(2)
		fine(b, c)

		sup.Kill()
		b.Kill() // no supervisor is left; the next one finds it
		sup = startIn(t, syscall.CLONE_NEWPID, "supervise", e.dir, "dynamic_shared_memory_type", backend)
		if generation := sup.Expect("ready "); generation != "1" {
			t.Errorf("generation %s: it was not adopted", generation)
		}
		living(1)
		fine(c)
		d := join()
		living(2)
		c.Kill()
		living(1)
		fine(d)
		d.Send("close")
		d.Expect("closed")
		_ = d.Wait()
		living(0)
		noErr(t, sup.Close())
	})
}

// withPidHelper: PID DIR. It is process 1 of its pid namespace and runs a session there as process PID. A thread of its
// own may have got that number, and keep it: then it says "taken".
func withPidHelper(c *proctest.Child) error {
	want, err := strconv.Atoi(c.Args[0])
	if err != nil {
		return err
	}
	for range 3 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(want-1)), 0); err != nil {
			return err
		}
		cmd := proctest.Command("session as", c.Args[1], c.Args[0])
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); proctest.ExitCode(err) != otherPid {
			return err
		}
	}
	c.Say("taken")
	return nil
}

// TestCoincidingPids: a pid that two processes have, one in a pid namespace of its own. Of the
// news that the one has died the other does not die, and the one's life does not keep the other.
func TestCoincidingPids(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can choose a pid")
	}
	needNamespaces(t, syscall.CLONE_NEWPID)
	e := newEnv(t)
	e.supervise()
	outer := e.session()
	e.create(outer, 100, 3)
	twin := func() *proctest.Process {
		for range 100 {
			p := startIn(t, syscall.CLONE_NEWPID, "with pid", strconv.Itoa(outer.Pid), e.dir)
			if line, _ := p.Line(); line == "taken" { // a thread has got the number: another namespace has other threads
				_ = p.Wait()
				continue
			} else if line != "open" {
				t.Fatalf("%q\n%s", line, p.Stderr())
			}
			e.create(p, 100, 5)
			return p
		}
		t.Fatalf("in no namespace was the pid %d free", outer.Pid)
		return nil
	}
	settled := func(sessions, segments int) {
		t.Helper()
		instancetest.Eventually(t, "the dead are reclaimed", func() bool {
			r := e.report()
			return len(r.Sessions) == sessions && len(r.Segments) == segments && e.objects() == segments
		})
		for _, s := range e.report().Sessions {
			if s.Pid != outer.Pid {
				t.Errorf("process %d, want %d", s.Pid, outer.Pid)
			}
		}
	}
	a, b := twin(), twin()
	settled(3, 13)
	a.Kill() // its namespace dies with it
	settled(2, 8)
	check(outer)
	outer.Kill()
	settled(1, 5)
	check(b)
	e.create(b, 100, 5)
	settled(1, 10)
	b.Kill()
	settled(0, 0)
}
