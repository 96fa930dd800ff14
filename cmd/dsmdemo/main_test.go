//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
)

func TestCreateAndRead(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		p := newPlace(t)
		p.supervise("-c", "dynamic_shared_memory_type="+backend)
		h := strings.TrimSpace(p.ok("create", "--pin", "hello"))
		if got := p.ok("read", h); got != "hello" {
			t.Errorf("read %q", got)
		}
		if got := p.ok("read", strings.ToUpper(h)); got != "hello" {
			t.Errorf("read %q by the handle in capitals", got)
		}
		content := "\x00\xff line\n\nno newline at the end \x00"
		h2, _, status := p.run(content, "create", "--pin", "-")
		if got := p.ok("read", strings.TrimSpace(h2)); got != content || status != 0 {
			t.Errorf("read %q", got)
		}
		sized := strings.TrimSpace(p.ok("create", "--pin", "--size", "10", "abc"))
		if got := p.ok("read", sized); got != "abc\x00\x00\x00\x00\x00\x00\x00" {
			t.Errorf("read %q", got)
		}
		zeros := strings.TrimSpace(p.ok("create", "--pin", "--size", "3"))
		if got := p.ok("read", zeros); got != "\x00\x00\x00" {
			t.Errorf("read %q", got)
		}
		for _, x := range []string{h, strings.TrimSpace(h2), sized, zeros} {
			p.ok("unpin", x)
			p.fails(1, "no such segment", "read", x)
		}
		if n := instancetest.Objects(t, p.dir); n != 0 {
			t.Errorf("%d objects are left", n)
		}
	})
}

func TestNoneRefuses(t *testing.T) {
	p := newPlace(t)
	p.fails(1, "disabled", "create", "x", "-c", "dynamic_shared_memory_type=none")
	p.fails(1, "disabled", "read", "0000000010000", "-c", "dynamic_shared_memory_type=none")
	p.fails(1, "disabled", "supervise", "-c", "dynamic_shared_memory_type=none")
}

// TestHolding: without --pin the segment lives as long as the command.
func TestHolding(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	byInput := p.start("create", "one")
	one := byInput.Expect("")
	bySignal := p.start("create", "two")
	two := bySignal.Expect("")
	byKill := p.start("create", "three")
	three := byKill.Expect("")
	cmd := p.command("create", "four") // standard input is /dev/null: only a signal ends it
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var four string
	if _, err := fmt.Fscanln(out, &four); err != nil {
		t.Fatal(err)
	}
	reader := p.start("create", "-") // its input was the content: only a signal ends it
	reader.Send("five")
	_ = reader.CloseInput()
	five := reader.Expect("")

	for h, want := range map[string]string{one: "one", two: "two", three: "three", four: "four", five: "five\n"} {
		if got := p.ok("read", h); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	if err := byInput.Close(); err != nil {
		t.Error(err)
	}
	_ = bySignal.Cmd.Process.Signal(syscall.SIGTERM)
	if err := bySignal.Wait(); err != nil {
		t.Error(err)
	}
	byKill.Kill()
	instancetest.Eventually(t, "the three segments are gone", func() bool {
		return instancetest.Objects(t, p.dir) == 2
	})
	p.fails(1, "no such segment", "read", one)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = reader.Cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := reader.Wait(); err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	p := newPlace(t)
	for _, args := range [][]string{{"frobnicate"}, {"read"}, {"read", "1", "2"}, {"read", "not a handle"}, {"ls", "x"},
		{"ls", "--frob"}, {"create", "a", "b"}, {"create", "--size", "many"}, {"-c", "x", "ls"},
		{"-c", "unknown=1", "ls"}, {"show", "-c", "max_processes=many"},
		{"ls", "--log-level", "loud"}, {"create", "--size", "1", "hello"}} {
		p.fails(2, "", args...)
	}
	if out := p.ok("--help"); !strings.Contains(out, "supervise") {
		t.Errorf("--help: %s", out)
	}
}

// TestStrayVariables: a misspelled setting in the environment is reported, other variables of ours are not.
func TestStrayVariables(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "DSM_TEST_SOMETHING=1", "DSMX=1")
	if _, errs, status := p.run("", "show"); status != 0 || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	p.env = append(p.env, "DSM_MAX_SEGMENT=12")
	if _, errs, status := p.run("", "show"); status != 0 || strings.Count(errs, "\n") != 1 ||
		!strings.Contains(errs, `WRN environment DSM_MAX_SEGMENT: there is no setting "max_segment"; there are `) {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestNoInstance(t *testing.T) {
	p := newPlace(t)
	for _, args := range [][]string{{"create", "x"}, {"read", "0000000010000"}, {"unpin", "0000000010000"}} {
		p.fails(1, "start one with: dsmctl supervise --dir "+p.dir, args...)
	}
	for _, probe := range []string{"ls", "ps", "status"} {
		p.fails(3, "start one with: dsmctl supervise --dir "+p.dir, probe)
	}
	p.fails(1, "start one with: dsmctl supervise --dir "+p.dir+"x", "create", "x", "--dir", p.dir+"x")
	if got := p.ok("clean"); got != "removed 0 objects\n" {
		t.Errorf("clean: %q", got)
	}
}

func TestClean(t *testing.T) {
	p := newPlace(t)
	s := p.supervise()
	p.fails(1, fmt.Sprintf("process %d", s.Pid), "clean")
	h := p.start("create", "x")
	h.Expect("")
	p.ok("create", "--pin", "y")
	s.Kill()
	p.fails(1, "1 sessions live", "clean")
	h.Kill()
	p.fails(1, "is dead and no session is left", "create", "z")
	private := p.start("supervise", "--private", "--json")
	at := parse[map[string]any](t, private.Expect("")+"\n")
	p.ok("create", "--pin", "z", "--dir", fmt.Sprint(at["dir"]))
	private.Kill()
	if got := p.ok("clean"); got != "removed 5 objects\n" { // two control segments among them
		t.Errorf("clean: %q", got)
	}
	if got := parse[map[string]any](t, p.ok("clean", "--json")); got["removed"] != 0.0 || got["dir"] != p.dir {
		t.Errorf("clean: %v", got)
	}
}

// TestLifeline: a supervisor of the tour ends with the tour.
// TestProbe: status, ls and ps print what there is, and their exit status reports whether a supervisor lives.
func TestProbe(t *testing.T) {
	p := newPlace(t)
	s := p.supervise()
	h := p.start("create", "x")
	h.Expect("")
	for _, probe := range []string{"ls", "ps", "status"} {
		p.ok(probe)
	}
	s.Kill()
	for _, probe := range []string{"ls", "ps", "status"} {
		if out, errs, status := p.run("", probe); status != 3 || out == "" || !strings.Contains(errs, "no supervisor lives") {
			t.Errorf("%s: status %d, %q, %q", probe, status, out, errs)
		}
	}
	p.supervise()
	if out := p.ok("status"); strings.Contains(out, fmt.Sprint("process ", s.Pid, "\n")) {
		t.Errorf("after an adoption: %s", out)
	}
	p.ok("ps")
}

// TestCompletes: a shell is offered handles, names and settings.
func TestCompletes(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	h := strings.TrimSpace(p.ok("create", "--pin", "x"))
	for want, args := range map[string][]string{
		h + "\t":        {"read", ""},
		h + "\t1 bytes": {"unpin", ""},
		"max_memory\t":  {"show", ""},
		"max_memory=\t": {"-c", ""},
		"disabled":      {"--log-level", ""},
	} {
		if out := p.ok(append([]string{"__complete"}, args...)...); !strings.Contains(out, want) {
			t.Errorf("%v: %q lacks %q", args, out, want)
		}
	}
	if out := p.ok("--version"); !strings.Contains(out, "layout ") {
		t.Error(out)
	}
}

// TestLooksWithoutARow: ls, ps and status answer with a full process table and beside a stopped process.
func TestLooksWithoutARow(t *testing.T) {
	p := newPlace(t)
	p.supervise("-c", "max_processes=2")
	p.env = append(p.env, "DSM_MAX_PROCESSES=2")
	a, b := p.start("create", "a"), p.start("create", "b")
	a.Expect("")
	b.Expect("")
	p.fails(1, "all 2 rows for processes (max_processes) are in use", "create", "c")
	_ = a.Cmd.Process.Signal(syscall.SIGSTOP)
	instancetest.Eventually(t, "ps shows the stopped one", func() bool {
		return strings.Contains(p.ok("ps"), "stopped")
	})
	for _, cmd := range []string{"ls", "ps", "status"} {
		p.ok(cmd)
	}
}

func TestDemoNone(t *testing.T) {
	p := newPlace(t)
	if out, errs, status := p.run("", "demo", "-c", "dynamic_shared_memory_type=none"); status != 0 ||
		strings.Count(out, "exit status 1") != 3 {
		t.Errorf("none: status %d\n%s%s", status, out, errs)
	}
}
