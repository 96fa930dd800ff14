package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// The tests run the command as people do: in processes of its own, by its words and exit status.
// The test binary is the command when this variable is set.
const asCommand = "DSMDEMO_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" || os.Getenv("DSM_TICKET") != "" {
		main()
	}
	os.Exit(m.Run())
}

// place is an instance directory of a test's own, and a state directory for private instances.
type place struct {
	t   *testing.T
	dir string
	env []string
	exe string // another program than the one under test
}

func newPlace(t *testing.T) place {
	t.Helper()
	base := instancetest.TempDir(t)
	p := place{t: t, dir: filepath.Join(base, "instance"), env: append(os.Environ(), asCommand+"=1",
		"XDG_STATE_HOME="+base, "LOCALAPPDATA="+base, "DSM_DIR="+filepath.Join(base, "instance"),
		"DSM_MAX_SEGMENTS=200", "DSM_MAX_PROCESSES=20")}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(p.dir, "id")); err == nil {
			if left := objectlist.Objects(instancetest.Lives(t, p.dir), filepath.Join(p.dir, "mmap")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(base, "dsm-private", "*", "id")); len(left) > 0 {
			t.Errorf("private instances are left: %v", left)
		}
	})
	return p
}

func (p place) command(args ...string) *exec.Cmd {
	p.t.Helper()
	exe := p.exe
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			p.t.Fatal(err)
		}
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = p.env
	return cmd
}

// run runs a command to its end.
func (p place) run(stdin string, args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := p.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), proctest.ExitCode(err)
}

// ok runs a command that must work, and returns what it printed.
func (p place) ok(args ...string) string {
	p.t.Helper()
	out, errs, status := p.run("", args...)
	if status != 0 {
		p.t.Fatalf("dsmdemo %v: status %d, %s", args, status, errs)
	}
	return out
}

// fails runs a command that must fail with that status and say so in one line.
func (p place) fails(status int, says string, args ...string) {
	p.t.Helper()
	out, errs, got := p.run("", args...)
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	if status == 2 {
		lines = lines[:1]
	}
	if got != status || len(lines) != 1 || !strings.Contains(errs, says) || out != "" {
		p.t.Errorf("dsmdemo %v: status %d, stdout %q, stderr %q; want status %d and one line that says %q",
			args, got, out, errs, status, says)
	}
}

func (p place) start(args ...string) *proctest.Process {
	p.t.Helper()
	return proctest.Run(p.t, p.command(args...))
}

func (p place) supervise(args ...string) *proctest.Process {
	p.t.Helper()
	s := p.start(append([]string{"supervise"}, args...)...)
	p.t.Cleanup(func() {
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
	})
	s.Expect("ready: ")
	return s
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if _, err := d.Token(); err != io.EOF || strings.Count(text, "\n") != 1 {
		t.Errorf("%q is not one JSON value on one line", text)
	}
	return v
}
