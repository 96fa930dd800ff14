//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
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

func TestStopEndsHolders(t *testing.T) {
	p := newPlace(t)
	s := p.supervise()
	h := p.start("create", "x")
	h.Expect("")
	_ = s.Cmd.Process.Signal(syscall.SIGTERM)
	if err := s.Wait(); err != nil {
		t.Errorf("supervise: %v", err)
	}
	if status := proctest.ExitCode(h.Wait()); status != 1 || !strings.Contains(h.Stderr(), "the instance has stopped") {
		t.Errorf("create: status %d, %s", status, h.Stderr())
	}
}

func TestJSON(t *testing.T) {
	p := newPlace(t)
	s := p.start("--json", "supervise")
	t.Cleanup(func() {
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
	})
	line, _ := s.Line()
	ready := parse[map[string]any](t, line+"\n")
	want := map[string]any{"event": "ready", "instance": instancetest.ID(t, p.dir).String(), "generation": 1.0,
		"backend": "posix", "dir": p.dir, "pid": float64(s.Pid)}
	if !reflect.DeepEqual(ready, want) {
		t.Errorf("ready %v, want %v", ready, want)
	}
	if got := strings.TrimSpace(p.ok("ls", "--json")); got != "[]" {
		t.Errorf("an empty ls is %s", got)
	}
	type created struct {
		Handle string `json:"handle"`
		Size   int    `json:"size"`
		OSName string `json:"os_name"`
	}
	c := parse[created](t, p.ok("create", "--json", "--pin", "hello"))
	if _, err := os.Stat(c.OSName); err != nil || c.Size != 5 || filepath.Dir(c.OSName) != "/dev/shm" ||
		!strings.HasSuffix(c.OSName, c.Handle) {
		t.Errorf("%+v: %v", c, err)
	}
	holder := p.start("--json", "create", "held")
	l, _ := holder.Line()
	held := parse[created](t, l+"\n")

	type segment struct {
		Handle     string           `json:"handle"`
		Size       int              `json:"size"`
		Refs       int              `json:"refs"`
		Pinned     bool             `json:"pinned"`
		State      string           `json:"state"`
		Backend    string           `json:"backend"`
		Reserved   bool             `json:"reserved"`
		OSName     string           `json:"os_name"`
		CreatorPid int              `json:"creator_pid"`
		AgeSeconds float64          `json:"age_seconds"`
		Holders    []map[string]any `json:"holders"`
	}
	type session struct {
		Session    string  `json:"session"`
		Pid        int     `json:"pid"`
		App        string  `json:"app"`
		State      string  `json:"state"`
		Segments   int     `json:"segments"`
		Bytes      int     `json:"bytes"`
		AgeSeconds float64 `json:"age_seconds"`
	}
	ps := parse[[]session](t, p.ok("ps", "--json"))
	ls := parse[[]segment](t, p.ok("--json", "ls"))
	if len(ls) != 2 || len(ps) != 1 {
		t.Fatalf("%+v, %+v", ls, ps)
	}
	a, b := ls[0], ls[1]
	if a.Handle != c.Handle || a.Refs != 1 || !a.Pinned || a.State != "live" || a.Backend != "posix" ||
		a.OSName != c.OSName || len(a.Holders) != 0 || a.Holders == nil {
		t.Errorf("%+v", a)
	}
	if b.Handle != held.Handle || b.Refs != 1 || b.Pinned || b.CreatorPid != holder.Pid || b.AgeSeconds < 0 ||
		!reflect.DeepEqual(b.Holders, []map[string]any{
			{"session": ps[0].Session, "pid": float64(holder.Pid), "app": "dsmdemo create"}}) {
		t.Errorf("%+v", b)
	}
	if len(ps) != 1 || ps[0].Pid != holder.Pid || ps[0].App != "dsmdemo create" || ps[0].State != "running" ||
		ps[0].Segments != 1 || ps[0].Bytes != 4 {
		t.Errorf("%+v", ps)
	}
	st := parse[map[string]any](t, p.ok("status", "--json"))
	for name, want := range map[string]any{"generation": 1.0, "backend": "posix",
		"supervisor_pid": float64(s.Pid), "sessions": 1.0, "max_processes": 20.0, "segments": 2.0,
		"max_segments": 200.0, "bytes": 9.0, "reserved": 0.0, "reserved_used": 0.0, "lock_holder": nil} {
		if st[name] != want {
			t.Errorf("status: %s is %v, want %v", name, st[name], want)
		}
	}
	read := parse[map[string]any](t, p.ok("read", c.Handle, "--json"))
	if read["base64"] != "aGVsbG8=" || read["size"] != 5.0 {
		t.Errorf("read: %v", read)
	}
	p.ok("unpin", c.Handle)
}

func TestTablesForPeople(t *testing.T) {
	p := newPlace(t)
	s := p.supervise()
	h := p.start("create", "x")
	handle := h.Expect("")
	for cmd, want := range map[string][]string{
		"ls": {"HANDLE", "IN THE SYSTEM", handle, "(dsmdemo create)", "/dev/shm/"},
		"ps": {"PID", "APPLICATION", "running", fmt.Sprint(h.Pid)},
		"status": {"generation    1", fmt.Sprintf("supervisor    process %d", s.Pid),
			"sessions      1 of 20", "control lock  free"},
		"show": {"max_processes", "environment DSM_MAX_PROCESSES", "shutdown_timeout"},
	} {
		out := p.ok(cmd)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not show %q:\n%s", cmd, w, out)
			}
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestShow(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(p.dir, "dsm.conf")
	if err := os.WriteFile(conf, []byte("# ours\n\nmax_memory 64MB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type setting struct{ Name, Value, Unit, Default, Source, About string }
	for name, want := range map[string]setting{
		"max_memory":    {Value: "64MB", Unit: "B", Default: "0", Source: conf + ":3"},
		"MAX_PROCESSES": {Value: "20", Unit: "sessions", Default: "256", Source: "environment DSM_MAX_PROCESSES"},
		"on_crash":      {Value: "restart", Default: "reclaim", Source: "program"},
	} {
		got := parse[setting](t, p.ok("show", name, "--json", "-c", "on_crash=restart"))
		want.Name, want.About = strings.ToLower(name), got.About
		if got != want {
			t.Errorf("show %s: %+v, want %+v", name, got, want)
		}
	}
	all := parse[[]setting](t, p.ok("show", "--json"))
	if !slices.ContainsFunc(all, func(s setting) bool {
		return s.Name == "dynamic_shared_memory_type" && s.Value == "posix"
	}) {
		t.Errorf("%+v", all)
	}
	p.fails(1, `there is no setting "nonsense"`, "show", "nonsense")
	if err := os.WriteFile(conf, []byte("max_memory lots\nmax_segments none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.fails(1, conf+`:1: max_memory = "lots" is no size`, "show")
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

// TestStrayVariables: a misspelled setting in the environment is told of, other variables of ours are not.
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

// TestReaderGone: a closed pipe on standard output ends a list quietly.
func TestReaderGone(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	for _, args := range [][]string{{"ls"}, {"ps"}, {"status"}, {"show"}, {"--json", "ls"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := p.command(args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		err = cmd.Run()
		w.Close()
		if err != nil || errs.Len() > 0 {
			t.Errorf("%v: %v, %s", args, err, &errs)
		}
	}
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

func TestLifeline(t *testing.T) {
	p := newPlace(t)
	s := p.supervise("--lifeline")
	if err := s.Close(); err != nil {
		t.Errorf("its input has ended: %v: %s", err, s.Stderr())
	}
	p.fails(3, "no running instance", "ls")
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

// TestSignalsEndReading: who waits for input that does not come can be told to stop.
func TestSignalsEndReading(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	for _, args := range [][]string{{"create"}, {"create", "-"}, {"sort"}} {
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			cmd := p.command(args...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Write(make([]byte, 1<<20)); err != nil { // more than a pipe holds: it is reading
				t.Fatal(err)
			}
			_ = cmd.Process.Signal(signal)
			if err := cmd.Wait(); proctest.ExitCode(err) != 1 || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("%v and %v: %v, %s; want status 1 and one line", args, signal, err, &errs)
			}
		}
	}
}
