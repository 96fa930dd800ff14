//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// traceEvent is what the tests read of a trace's events.
type traceEvent struct {
	Name, Cat, Ph string
	Pid           int
}

// traceOf reads a recording, which must be whole.
func traceOf(t *testing.T, content []byte) (list []traceEvent) {
	t.Helper()
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatalf("%v: %.300s", err, content)
	}
	spans := 0
	for _, e := range list {
		switch e.Ph {
		case "b":
			spans++
		case "e":
			spans--
		}
	}
	if spans != 0 {
		t.Errorf("%d spans have no end", spans)
	}
	return list
}

// recorded reads a file that a recorder has written, or writes now.
func recorded(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return content
}

// TestTraceRecordsBesideAStoppedSession records on a full table while a session is stopped, sees it die, and ends in each way that it has.
func TestTraceRecordsBesideAStoppedSession(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "DSM_MAX_PROCESSES=2")
	file := filepath.Join(t.TempDir(), "trace.json")
	if _, errs, status := p.run("trace", file); status != 3 || !strings.Contains(errs, "no running instance") {
		t.Errorf("no instance: status %d, %s", status, errs)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is no instance, and it has made a file")
	}
	for _, args := range [][]string{{"--for", "-1s"}, {"--interval", "0"}, {"--limit", "1kB"}, {"--limit", "many"}} {
		if _, errs, status := p.run(append(args, "trace", file)...); status != 2 {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
	s := p.supervise()
	one, two := proctest.Run(t, p.command("create", "one")), proctest.Run(t, p.command("create", "two"))
	handle := one.Expect("")
	two.Expect("")
	if err := one.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	if out := p.ok("trace", "--for", "100ms", "--interval", "10ms", file); !strings.Contains(out, "--for is over") {
		t.Error(out)
	}
	content := recorded(t, file)
	traceOf(t, content)
	for _, want := range []string{`"stopped"`, handle, `"dsmctl create"`, "instance " + p.dir, `"segments"`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %s in %s", want, content)
		}
	}

	file += "2" // another one for each recording, so that what is in it is of that
	r := proctest.Run(t, p.command("trace", "--for", "0", "--interval", "10ms", "--json", file))
	instancetest.Eventually(t, "the recording has begun", func() bool { return strings.Contains(string(recorded(t, file)), `"stopped"`) })
	one.Kill()
	instancetest.Eventually(t, "it has the death", func() bool { return strings.Contains(string(recorded(t, file)), `"died"`) })
	if err := r.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if line := r.Expect(""); !strings.Contains(line, "it was interrupted") {
		t.Error(line)
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	traceOf(t, recorded(t, file))

	// A recorder that is killed leaves what it has seen: a list without its end.
	file += "3"
	r = proctest.Run(t, p.command("trace", "--for", "0", "--interval", "10ms", file))
	instancetest.Eventually(t, "the recording has begun", func() bool { return strings.Contains(string(recorded(t, file)), `"session`) })
	r.Kill()
	var list []traceEvent
	if err := json.Unmarshal(append(recorded(t, file), ']'), &list); err != nil || len(list) == 0 {
		t.Errorf("%d events, %v", len(list), err)
	}

	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := p.command("trace", "--for", "0", "--interval", "10ms", "-")
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if n, err := read.Read(make([]byte, 1)); n != 1 {
		t.Error(err)
	}
	read.Close()
	// A look that finds nothing new writes nothing: segments are made, so that each look finds some.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	instancetest.Eventually(t, "it ends when its reader has gone", func() bool {
		select {
		case err = <-ended:
			return true
		default:
			p.ok("create", "--pin", "x")
			return false
		}
	})
	if err != nil {
		t.Errorf("its reader has gone: %v", err)
	}

	file += "3"
	r = proctest.Run(t, p.command("trace", "--for", "0", "--interval", "10ms", file))
	instancetest.Eventually(t, "the recording has begun", func() bool { return strings.Contains(string(recorded(t, file)), `"session`) })
	two.Kill()
	if err := s.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line := r.Expect(""); !strings.Contains(line, "no running instance") {
		t.Error(line)
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	ends := 0
	for _, e := range traceOf(t, recorded(t, file)) {
		if e.Cat == "event" && e.Name == "ended" {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("%d times it says that the instance ended", ends)
	}
}
