//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/parallel"
)

const whole = "BENCH_TEST_WHOLE" // the test binary is to be the command

func TestMain(m *testing.M) {
	side.Main()
	parallel.Main()
	if os.Getenv(whole) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bench is the command, with a folder for temporary files of its own, which must be empty in the end.
func bench(t *testing.T, args ...string) (cmd *exec.Cmd, out string) {
	t.Helper()
	// not t.TempDir: its parent is closed to the user that PostgreSQL runs as
	temp, err := os.MkdirTemp("", "bench-test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(temp, 0o711); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(t.TempDir(), "report")
	cmd = exec.Command(side.Self(), append([]string{"-quick", "-out", out}, args...)...)
	cmd.Env = append(os.Environ(), whole+"=1", "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		os.RemoveAll(temp)
		if files, _ := filepath.Glob("/dev/shm/godsm-bench-" + strconv.Itoa(cmd.Process.Pid) + "-*"); len(files) > 0 {
			t.Errorf("left on the mount: %v", files)
		}
		processes, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, p := range processes {
			if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), "TMPDIR="+temp) {
				line, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
				t.Errorf("still running: %s", strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
	})
	return cmd, out
}

// TestOnePart runs the command for one cheap figure, with PostgreSQL and all, from end to end.
func TestOnePart(t *testing.T) {
	cmd, out := bench(t, "-only", "^locks/.*shared.*alone|^segments/attach.* 4 KiB, sysv")
	if text, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != exitMissing {
		t.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var results []figure.Result
	if err := json.Unmarshal(b, &results); err != nil {
		t.Fatal(err)
	}
	measured := map[string]figure.Result{}
	for _, r := range results {
		t.Logf("%+v", r)
		if r.Repeats == 0 && r.Skipped == "" {
			t.Errorf("%s of %s was not measured, and no reason is given", r.Shape, r.Rival)
		}
		if r.Repeats > 0 && (r.Repeats != 3 || r.NsPerOp <= 0 || r.Min > r.NsPerOp || r.Max < r.NsPerOp ||
			r.Rival != figure.Ours && r.Ratio <= 0) {
			t.Errorf("%+v", r)
		}
		measured[r.Part+" "+r.Rival] = r
	}
	if measured["locks godsm"].Repeats != 3 || measured["segments godsm"].Repeats != 3 ||
		measured["segments raw system calls"].Repeats != 3 {
		t.Error("ours or the raw calls are missing")
	}
	text, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil || !regexp.MustCompile(`LWLock shared, lock\+unlock, alone.*PostgreSQL`).Match(text) {
		t.Errorf("the report lacks what was measured: %v", err)
	}
}

// A run without one of its rivals writes its report, names the rival at its top, and exits with a status of its own.
func TestMissingRivalIsAStatus(t *testing.T) {
	cmd, out := bench(t, "-only", "^segments/create.* 4 KiB, posix")
	for i, kv := range cmd.Env { // a PATH without interpreters, compilers and apt
		if strings.HasPrefix(kv, "PATH=") {
			cmd.Env[i] = "PATH=/nonexistent"
		}
	}
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitMissing || !strings.Contains(string(text), "Python (") {
		t.Fatalf("%v\n%s", err, text)
	}
	report, err := os.ReadFile(filepath.Join(out, "report.md"))
	top, _, _ := strings.Cut(string(report), "| machine |")
	if err != nil || !strings.Contains(top, "**Missing rivals**") || !strings.Contains(top, "- Python, ") {
		t.Errorf("%v: the top of the report names no missing rival: %s", err, top)
	}
}

func TestNoSuchFigure(t *testing.T) {
	if err := run(t.Context(), options{only: regexp.MustCompile("^nonsense$")}); err == nil {
		t.Error("nothing is measured, and that is fine")
	}
}

// TestInterrupted: ^C reaches the bench in the middle of a figure, with clusters, sessions and
// partners about; nothing is left.
func TestInterrupted(t *testing.T) {
	cmd, out := bench(t, "-only", "^messages/round trip 8 B|^reclaim")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "1/4 messages") { // the next one is under way
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines.Scan() {
		said = lines.Text()
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(said, context.Canceled.Error()) &&
		!strings.Contains(said, "interrupt") {
		t.Errorf("%v; it ends with %q", err, said)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("half a report was written")
	}
}
