//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
)

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

func TestLifeline(t *testing.T) {
	p := newPlace(t)
	s := p.supervise("--lifeline")
	if err := s.Close(); err != nil {
		t.Errorf("its input has ended: %v: %s", err, s.Stderr())
	}
	p.fails(3, "no running instance", "ls")
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
