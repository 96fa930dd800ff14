//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/command/doctor"
)

// carryOut runs a command line that was printed as a cure, as a person does.
func (p place) carryOut(line string) {
	p.t.Helper()
	bin := p.t.TempDir()
	exe, err := os.Executable()
	if err == nil {
		err = os.Symlink(exe, filepath.Join(bin, "dsmctl"))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(p.env, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Errorf("%s: %v %s", line, err, out)
	}
}

// TestCuresOfDoctor breaks a thing, carries out the command line that doctor prints for it, and looks again.
func TestCuresOfDoctor(t *testing.T) {
	under := func(name string, put func(path string) error) func(p place) error {
		return func(p place) error { return put(filepath.Join(p.dir, name)) }
	}
	for _, c := range []struct {
		name, check string
		spoil       func(p place) error
	}{
		{"directory that others can write", "directory", func(p place) error { return os.Chmod(p.dir, 0o777) }},
		{"symbolic link for a settings file", "directory_files", under("dsm.conf", func(path string) error {
			return os.Symlink("/dev/null", path)
		})},
		{"FIFO for a list of lives", "directory_files", under("lives.new", func(path string) error {
			return syscall.Mkfifo(path, 0o600)
		})},
		{"directory for a members file", "directory_files", under("members.x", func(path string) error {
			return os.MkdirAll(filepath.Join(path, "deep"), 0o700)
		})},
		{"file for the mmap directory", "directory_files", under("mmap", func(path string) error {
			return os.WriteFile(path, nil, 0o600)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			if err := os.Mkdir(p.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(p); err != nil {
				t.Fatal(err)
			}
			f := p.doctor()[c.check]
			if f.Status != doctor.Bites || f.Cure == "" {
				t.Fatalf("%+v", f)
			}
			p.carryOut(f.Cure)
			if f := p.doctor()[c.check]; f.Status != doctor.OK {
				t.Errorf("after the cure: %+v", f)
			}
			p.supervise()
		})
	}
}

// TestCuresOfAStart breaks a thing, does what the refused start says, and starts again.
func TestCuresOfAStart(t *testing.T) {
	mmap := []string{"-c", "dynamic_shared_memory_type=mmap"}
	for _, c := range []struct {
		name  string
		spoil func(p place) error
		says  string
		cure  func(p place, says string) (args []string)
	}{
		{"directory that others can write", func(p place) error { return os.Chmod(p.dir, 0o777) }, "chmod go-w ",
			func(p place, says string) []string {
				_, line, _ := strings.Cut(says, "chmod go-w ")
				p.carryOut("chmod go-w " + line)
				return nil
			}},
		{"settings that others can write", func(p place) error {
			path := filepath.Join(p.dir, "dsm.conf")
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666), os.Chmod(p.dir, 0o755))
		}, "chmod go-w ", func(p place, says string) []string {
			p.carryOut("chmod go-w " + filepath.Join(p.dir, "dsm.conf"))
			return nil
		}},
		{"symbolic link for the mmap directory", func(p place) error {
			return os.Symlink(p.t.TempDir(), filepath.Join(p.dir, "mmap"))
		}, "set mmap_directory to where the files shall be", func(p place, says string) []string {
			p.carryOut("rm " + filepath.Join(p.dir, "mmap"))
			there := p.t.TempDir()
			if err := os.Chmod(there, 0o700); err != nil {
				p.t.Fatal(err)
			}
			return []string{"-c", "mmap_directory=" + there}
		}},
		{"file for the mmap directory", func(p place) error {
			return os.WriteFile(filepath.Join(p.dir, "mmap"), nil, 0o600)
		}, "is not a directory: remove it", func(p place, says string) []string {
			p.carryOut("rm " + filepath.Join(p.dir, "mmap"))
			return nil
		}},
		{"directory for the record", func(p place) error {
			return os.Mkdir(filepath.Join(p.dir, "instance"), 0o700)
		}, "remove it", func(p place, says string) []string {
			p.carryOut("rm -r " + filepath.Join(p.dir, "instance"))
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			if err := os.Mkdir(p.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(p); err != nil {
				t.Fatal(err)
			}
			_, says, status := p.run("", append([]string{"supervise", "--lifeline"}, mmap...)...)
			if status != 1 && status != 2 || !strings.Contains(says, c.says) {
				t.Fatalf("status %d, %s, want one that says %q", status, says, c.says)
			}
			first, _, _ := strings.Cut(says, "\n")
			p.supervise(append(c.cure(p, first), mmap...)...)
			p.ok("create", "--pin", "x")
		})
	}
}
