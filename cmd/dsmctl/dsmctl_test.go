//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// The test binary is the command when this variable is set.
const asCommand = "DSMCTL_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// place is an instance directory of a test's own.
type place struct {
	t   *testing.T
	dir string
	env []string
}

func newPlace(t *testing.T) place {
	t.Helper()
	base := instancetest.TempDir(t)
	dir := filepath.Join(base, "instance")
	return place{t, dir, append(os.Environ(), asCommand+"=1", "XDG_STATE_HOME="+base, "DSM_DIR="+dir, "DSM_MAX_SEGMENTS=200",
		"DSM_MAX_PROCESSES=8")}
}

func (p place) command(args ...string) *exec.Cmd {
	p.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = p.env
	return cmd
}

func (p place) run(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := p.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), proctest.ExitCode(err)
}

func (p place) ok(args ...string) string {
	p.t.Helper()
	out, errs, status := p.run(args...)
	if status != 0 {
		p.t.Fatalf("dsmctl %v: status %d, %s", args, status, errs)
	}
	return out
}

func (p place) supervise(args ...string) *proctest.Process {
	p.t.Helper()
	s := proctest.Run(p.t, p.command(append([]string{"supervise"}, args...)...))
	p.t.Cleanup(func() {
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
	})
	s.Expect("ready: ")
	return s
}

// commandsOf returns the names of the commands in a help text.
func commandsOf(help string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) {2,}[A-Z]`).FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestHelpAndManual: each command is in a group of the help, and has a page of the manual.
func TestHelpAndManual(t *testing.T) {
	p := newPlace(t)
	help := p.ok("--help")
	names := commandsOf(help)
	for _, want := range []string{"supervise", "ls", "ps", "status", "show", "top", "locks", "cache", "batch", "names", "verify", "doctor",
		"clean", "pin", "unpin", "rm", "cat", "dump", "instances", "version"} {
		if !slices.Contains(names, want) {
			t.Errorf("the help does not tell of %s:\n%s", want, help)
		}
	}
	if strings.Contains(help, "Additional Commands") || strings.Contains(help, "demo") {
		t.Errorf("a command without a group, or of the demo:\n%s", help)
	}
	dir := filepath.Join(t.TempDir(), "man")
	p.ok("man", dir)
	for _, page := range append(names, "cache-ls", "cache-stats", "cache-replay", "completion-bash") {
		if page == "help" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "dsmctl-"+page+".1"))
		if err != nil || !bytes.Contains(text, []byte(".SH SYNOPSIS")) && !bytes.Contains(text, []byte("SYNOPSIS")) {
			t.Errorf("%s: %v, %.100s", page, err, text)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "dsmctl.1"))
	for _, want := range []string{".SH COMMANDS", ".SH EXIT STATUS", ".SH ENVIRONMENT", ".SH FILES", "DSM_DIR", "supervise"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page of the program has no %s: %v", want, err)
		}
	}
	for _, sub := range commandsOf(p.ok("cache", "--help")) {
		if _, err := os.Stat(filepath.Join(dir, "dsmctl-cache-"+sub+".1")); err != nil {
			t.Error(err)
		}
	}
	if out := p.ok("help", "exit-status"); !strings.Contains(out, "no supervisor lives") {
		t.Error(out)
	}
	for shell, word := range map[string]string{"bash": "complete -o", "zsh": "#compdef dsmctl", "fish": "complete -c dsmctl"} {
		if out := p.ok("completion", shell); !strings.Contains(out, word) {
			t.Errorf("%s: %.200s", shell, out)
		}
	}
}

// TestErrorsAsJSON: with --json an error is one object, with the status that the process ends with.
func TestErrorsAsJSON(t *testing.T) {
	p := newPlace(t)
	for _, x := range []struct {
		status int
		kind   string
		args   []string
	}{
		{3, "unsupervised", []string{"status"}},
		{3, "unsupervised", []string{"top"}},
		{1, "failure", []string{"create", "x"}},
		{1, "failure", []string{"show", "nonsense"}},
		{2, "usage", []string{"frobnicate"}},
		{2, "usage", []string{"ls", "--frob"}},
		{2, "usage", []string{"ls", "--columns", "nope"}},
		{2, "usage", []string{"ls", "--filter", "size<much"}},
		{2, "usage", []string{"ls", "--filter", "size"}},
		{2, "usage", []string{"top", "--view", "nope"}},
		{2, "usage", []string{"top", "--interval", "0s"}},
		{2, "usage", []string{"status", "--color", "blue"}},
		{2, "usage", []string{"-c", "unknown=1", "ls"}},
		{2, "usage", []string{"read", "not a handle"}},
	} {
		out, errs, status := p.run(append(x.args, "--json")...)
		var e struct {
			Error, Kind, Command string
			Status               int `json:"exit_status"`
		}
		if err := json.Unmarshal([]byte(errs), &e); err != nil || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%v: %q, %q: %v", x.args, out, errs, err)
		}
		if status != x.status || e.Status != status || e.Kind != x.kind || e.Error == "" || !strings.HasPrefix(e.Command, "dsmctl") {
			t.Errorf("%v: status %d, %+v", x.args, status, e)
		}
		if strings.Contains(errs, "dsmdemo") {
			t.Errorf("%v names another program: %s", x.args, errs)
		}
		if _, errs, _ := p.run(x.args...); strings.Contains(errs, "{") || !strings.HasPrefix(errs, "dsmctl: ") {
			t.Errorf("%v without --json: %s", x.args, errs)
		}
	}
}

// TestTables chooses columns, sorts, filters, and leaves out the heading; in a pipe nothing is cut or coloured.
func TestTables(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	small := strings.TrimSpace(p.ok("create", "--pin", "x"))
	large := strings.TrimSpace(p.ok("create", "--pin", "--size", "1MB"))
	for want, args := range map[string][]string{
		large + "  1048576\n" + small + "  1\n": {"ls", "--columns", "handle,size", "--sort", "-size", "--no-header"},
		small + "\n" + large + "\n":             {"ls", "--columns", "handle", "--sort", "size", "--no-header"},
		"HANDLE\n" + small + "\n":               {"ls", "--columns", "handle", "--filter", "size<1kB"},
		"HANDLE\n" + large + "\n":               {"ls", "--columns", "handle", "--filter", "size=1MB", "--filter", "pinned=yes"},
		"SIZE\n":                                {"ls", "--columns", "size", "--filter", "handle!~."},
		"max_processes  8\n":                    {"show", "--columns", "name,value", "--filter", "name=max_processes", "--no-header"},
		"\x1b[1mSESSION\x1b[0m\n":               {"ps", "--columns", "session", "--color", "always"},
	} {
		if got := p.ok(args...); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
	var rows []struct{ Handle string }
	if err := json.Unmarshal([]byte(p.ok("ls", "--json", "--filter", "size>1", "--columns", "size")), &rows); err != nil || len(rows) != 1 ||
		rows[0].Handle != large {
		t.Errorf("%v, %v", rows, err)
	}
	for _, args := range [][]string{{"ps"}, {"names"}, {"locks"}, {"cache", "ls"}, {"batch"}, {"instances"}} {
		if got := p.ok(append(args, "--json")...); !strings.HasPrefix(got, "[") {
			t.Errorf("%v: %s", args, got)
		}
	}
}

// TestSegmentsByHandleAndName: cat, dump, pin and rm take what they are given, and say what is wrong with it.
func TestSegmentsByHandleAndName(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	h := strings.TrimSpace(p.ok("create", "--pin", "--size", "40", "hello"))
	if got := p.ok("cat", h, "--offset", "1", "--length", "3"); got != "ell" {
		t.Errorf("cat: %q", got)
	}
	want := "00000000  68 65 6c 6c 6f 00 00 00  00 00 00 00 00 00 00 00  |hello...........|\n" +
		"00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n" +
		"00000020  00 00 00 00 00 00 00 00                           |........|\n00000028\n"
	if got := p.ok("dump", h); got != want {
		t.Errorf("dump:\n%s", got)
	}
	p.ok("cache", "set", "--create", "2MB", "pages", "k", "v")
	if got := p.ok("names", "--columns", "name,kind", "--no-header"); got != "pages  cache\n" {
		t.Errorf("names: %q", got)
	}
	if out, errs, status := p.run("cat", h, "--offset", "41"); status != 2 || !strings.Contains(errs, "beyond") {
		t.Errorf("%d %s %s", status, out, errs)
	}
	pages := strings.TrimSpace(p.ok("names", "pages", "--columns", "handle", "--no-header"))
	if _, errs, status := p.run("rm", pages); status != 1 || !strings.Contains(errs, `the name "pages" (cache)`) {
		t.Errorf("rm of a named segment: %d %s", status, errs)
	}
	if _, errs, status := p.run("unpin", pages); status != 1 || !strings.Contains(errs, "rm pages") {
		t.Errorf("unpin of a named segment: %d %s", status, errs)
	}
	if got := p.ok("names", "--columns", "name", "--no-header"); got != "pages\n" {
		t.Errorf("the name after that: %q", got)
	}
	if got := p.ok("rm", h, "pages"); !strings.Contains(got, "segment "+h) || !strings.Contains(got, "cache pages") {
		t.Errorf("rm: %s", got)
	}
	if _, errs, status := p.run("rm", "nothing"); status == 0 || !strings.Contains(errs, "neither a handle nor a name") {
		t.Errorf("rm: %d %s", status, errs)
	}
	holder := proctest.Run(t, p.command("create", "held"))
	held := holder.Expect("")
	if _, errs, status := p.run("rm", held); status != 1 || !strings.Contains(errs, "not pinned") {
		t.Errorf("rm of a held segment: %d %s", status, errs)
	}
	p.ok("pin", held)
	if err := holder.Close(); err != nil {
		t.Error(err)
	}
	if got := p.ok("cat", held); got != "held" {
		t.Errorf("after its session: %q", got)
	}
	p.ok("rm", held)
	if n := instancetest.Objects(t, p.dir); n > 2 { // the table of names
		t.Errorf("%d objects are left", n)
	}
}

// TestCompletesNames: a shell is offered names, handles, columns and levels.
func TestCompletesNames(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	h := strings.TrimSpace(p.ok("create", "--pin", "x"))
	p.ok("cache", "set", "--create", "2MB", "pages", "k", "v")
	for _, x := range []struct {
		want string
		args []string
	}{
		{"pages\tcache", []string{"cache", "stats", ""}}, {"pages\tcache", []string{"rm", ""}}, {h, []string{"dump", ""}},
		{"holders", []string{"ls", "--columns", ""}}, {"debug", []string{"--log-level", ""}}, {"max_memory", []string{"show", ""}},
		{"caches", []string{"top", "--view", ""}}, {"instances", []string{"inst"}},
	} {
		if out := p.ok(append([]string{"__complete"}, x.args...)...); !strings.Contains(out, x.want) {
			t.Errorf("%v: %q", x.args, out)
		}
	}
}
