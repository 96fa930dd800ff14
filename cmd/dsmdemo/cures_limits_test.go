//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// raised is a shell's line that raises a limit which another has lowered.
func raised(lower, raise string) string {
	if strings.Contains(lower, "-n") {
		return raise
	}
	return lower + " && " + raise
}

// TestCuresOfLimits carries out what doctor, and the error of a command, say about a limit of the process. Go raises soft
// limits of open files, and a hard one that was lowered can't be raised without a right: that cure is carried out in a
// shell of its own.
func TestCuresOfLimits(t *testing.T) {
	for _, c := range []struct{ name, check, lower string }{
		{"open files", "rlimit_nofile", "ulimit -n 40"},
		{"open files for a supervisor", "rlimit_nofile", "ulimit -n 70"},
		{"size of files", "rlimit_fsize", "ulimit -Sf 1000"},
		{"address space", "rlimit_as", "ulimit -Sv 2000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			look := func(line string) doctor.Finding {
				sh := exec.Command("sh", "-c", line+" && exec "+os.Args[0]+" doctor --json")
				sh.Env = p.env
				out, err := sh.Output()
				if status := proctest.ExitCode(err); status != 0 && status != 1 {
					t.Fatalf("%s: %v", line, err)
				}
				for _, f := range parse[[]doctor.Finding](t, string(out)) {
					if f.Check == c.check {
						return f
					}
				}
				t.Fatalf("no %s", c.check)
				return doctor.Finding{}
			}
			f := look(c.lower)
			if f.Status == doctor.OK || f.Cure == "" {
				t.Fatalf("%+v", f)
			}
			line := between(f.Cure, "", " (")
			if f := look(raised(c.lower, line)); f.Status == doctor.Bites ||
				f.Status == doctor.Note && !strings.Contains(line, "1024") {
				t.Errorf("after %s: %+v", line, f)
			}
		})
	}
	p := newPlace(t)
	p.supervise()
	big := strings.Repeat("x", 3<<20)
	create := func(line string) (says string, status int) {
		sh := exec.Command("sh", "-c", line+" && exec "+os.Args[0]+" create --pin")
		sh.Env, sh.Stdin = p.env, strings.NewReader(big)
		var errs strings.Builder
		sh.Stderr = &errs
		err := sh.Run()
		return errs.String(), proctest.ExitCode(err)
	}
	says, status := create("ulimit -Sf 1000")
	if status == 0 || !strings.Contains(says, "ulimit -f") || !strings.Contains(says, "raise it") {
		t.Errorf("status %d, %s", status, says)
	}
	if says, status := create("ulimit -Sf 1000 && ulimit -f unlimited"); status != 0 {
		t.Errorf("after ulimit -f unlimited: status %d, %s", status, says)
	}
	told := false
	for n := 6; n < 20 && !told; n++ { // Go itself needs a few
		says, status := create(fmt.Sprintf("ulimit -n %d", n))
		if told = status != 0 && strings.Contains(says, "raise this process's limit of open files (ulimit -n"); !told {
			continue
		}
		if says, status := create(raised(fmt.Sprintf("ulimit -n %d", n), "ulimit -n 1024")); status != 0 {
			t.Errorf("after ulimit -n 1024: status %d, %s", status, says)
		}
	}
	if !told {
		t.Error("no limit of open files is told of")
	}
}
