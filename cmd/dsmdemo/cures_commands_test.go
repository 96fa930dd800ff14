//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// TestCuresOfCommands does what the error of a command says that needs no rights, and runs it again.
func TestCuresOfCommands(t *testing.T) {
	t.Run("rows for processes", func(t *testing.T) {
		p := newPlace(t)
		p.env = append(p.env, "DSM_MAX_PROCESSES=1")
		s := p.supervise()
		p.start("create", "held").Expect("")
		p.fails(1, "max_processes) are in use: raise it, and restart the supervisor", "create", "x")
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
		p.env = append(p.env, "DSM_MAX_PROCESSES=2")
		p.supervise()
		p.start("create", "held").Expect("")
		p.ok("create", "--pin", "x")
	})
	t.Run("no instance", func(t *testing.T) {
		p := newPlace(t)
		_, says, _ := p.run("", "ls")
		line := between(says, "start one with: ", "\n")
		if line != "dsmctl supervise --dir "+p.dir {
			t.Fatal(says)
		}
		p.supervise(strings.Fields(line)[2:]...)
		p.ok("ls")
	})
	t.Run("another supervisor", func(t *testing.T) {
		p := newPlace(t)
		s := p.supervise()
		_, says, _ := p.run("", "supervise", "--lifeline")
		if !strings.Contains(says, fmt.Sprintf("process %d", s.Pid)) || !strings.Contains(says, "stop that one first") {
			t.Fatal(says)
		}
		p.carryOut(fmt.Sprintf("kill -INT %d", s.Pid))
		_ = s.Wait()
		p.supervise()
	})
	t.Run("sessions without a supervisor", func(t *testing.T) {
		p := newPlace(t)
		s := p.supervise()
		p.start("create", "held").Expect("")
		s.Kill()
		f := p.doctor()["instance"]
		if f.Status != doctor.Note || f.Cure != "dsmctl supervise --dir "+p.dir {
			t.Fatalf("%+v", f)
		}
		p.supervise(strings.Fields(f.Cure)[2:]...)
		if f := p.doctor()["instance"]; f.Status != doctor.OK {
			t.Errorf("after the cure: %+v", f)
		}
	})
	t.Run("directory that was moved", func(t *testing.T) {
		p := newPlace(t)
		s := p.supervise()
		if err := os.Rename(p.dir, p.dir+"2"); err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(); err == nil {
			t.Error("the supervisor ended without an error")
		}
		line := between(s.Stderr(), "start it anew where it shall be: ", "\n")
		if !strings.HasPrefix(line, "dsmctl supervise --dir ") {
			t.Fatal(s.Stderr())
		}
		p.dir += "2" // where it shall be
		p.supervise("--dir", p.dir)
	})
	t.Run("a dead life, by force", func(t *testing.T) {
		p := newPlace(t)
		p.supervise().Kill()
		_, says, status := p.run("", "clean", "--force")
		if status != 0 {
			t.Fatalf("status %d, %s", status, says)
		}
		if f := p.doctor()["leftovers"]; f.Status != doctor.OK {
			t.Errorf("after clean --force: %+v", f)
		}
	})
	t.Run("file of another user", func(t *testing.T) {
		instancetest.NeedOtherUsers(t)
		p := newPlace(t)
		s := p.supervise()
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
		path := filepath.Join(p.dir, "dsm.conf")
		err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, instancetest.Stranger, instancetest.Stranger))
		if err != nil {
			t.Fatal(err)
		}
		_, says, status := p.run("", "supervise", "--lifeline")
		if status == 0 || !strings.Contains(says, "chown it, or remove it") {
			t.Fatalf("status %d, %s", status, says)
		}
		p.carryOut("chown 0:0 " + path)
		p.supervise()
	})
	t.Run("directory of another user", func(t *testing.T) {
		instancetest.NeedOtherUsers(t)
		p := newPlace(t)
		p.supervise()
		if err := os.Chmod(filepath.Dir(p.dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		as := func(user uint32) (string, error) {
			cmd := p.command("ls")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		says, err := as(instancetest.Stranger)
		if err == nil || !strings.Contains(says, "run as the owner") {
			t.Skipf("skipped: the other user can't run this program: %v %s", err, says)
		}
		if says, err := as(0); err != nil {
			t.Errorf("as the owner: %v %s", err, says)
		}
	})
	t.Run("row that a stray store has hit", func(t *testing.T) {
		p := newPlace(t)
		p.env = append(p.env, "DSM_DYNAMIC_SHARED_MEMORY_TYPE=mmap")
		s := p.supervise()
		p.ok("create", "--pin", "x")
		files, _ := filepath.Glob(filepath.Join(p.dir, "mmap", "*"))
		row := int64(2048+21*64+63) / 64 * 64 // of the first segment, behind the rows of 20 processes and a supervisor
		for _, path := range files {
			if info, err := os.Stat(path); err != nil || info.Size() < row {
				continue
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{0x55}, row+16) // its size
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if f := p.doctor()["stuck_rows"]; f.Status != doctor.Bites || f.Cure != "restart the supervisor" {
			t.Fatalf("%+v", f)
		}
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
		p.supervise()
		if f := p.doctor()["stuck_rows"]; f.Status != doctor.OK {
			t.Errorf("after a restart: %+v", f)
		}
		p.ok("create", "--pin", "x")
	})
	t.Run("directory that its owner can't write", func(t *testing.T) {
		instancetest.NeedOtherUsers(t)
		p := newPlace(t)
		err := errors.Join(os.Mkdir(p.dir, 0o500), os.Chmod(filepath.Dir(p.dir), 0o755),
			os.Chown(p.dir, instancetest.Stranger, instancetest.Stranger))
		if err != nil {
			t.Fatal(err)
		}
		look := func() doctor.Finding {
			cmd := p.command("doctor", "--json")
			user := &syscall.Credential{Uid: instancetest.Stranger, Gid: instancetest.Stranger}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
			out, err := cmd.Output()
			if status := proctest.ExitCode(err); status != 0 && status != 1 || len(out) == 0 {
				t.Skipf("skipped: the other user can't run this program: %v", err)
			}
			for _, f := range parse[[]doctor.Finding](t, string(out)) {
				if f.Check == "directory" {
					return f
				}
			}
			return doctor.Finding{}
		}
		f := look()
		if f.Status != doctor.Bites || f.Cure != "chmod u+rwx "+p.dir {
			t.Fatalf("%+v", f)
		}
		p.carryOut(f.Cure)
		if f := look(); f.Status != doctor.OK {
			t.Errorf("after the cure: %+v", f)
		}
	})
}

// TestCureOfNoHome sets DSM_DIR, as a command says that knows no directory.
func TestCureOfNoHome(t *testing.T) {
	p := newPlace(t)
	sh := func(line string) (string, error) {
		cmd := exec.Command("sh", "-c", "unset HOME XDG_STATE_HOME DSM_DIR; "+line+" exec "+os.Args[0]+" ls")
		cmd.Env = p.env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if says, err := sh(""); err == nil || !strings.Contains(says, "set DSM_DIR") {
		t.Fatalf("%v, %s", err, says)
	}
	p.supervise()
	if says, err := sh("DSM_DIR=" + p.dir); err != nil {
		t.Errorf("%v, %s", err, says)
	}
}
