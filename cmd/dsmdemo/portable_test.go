package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// What follows needs no signals, and runs on every system.

// TestBetweenProcesses: create, read, pin, kill and reclaim, each a process of its own.
func TestBetweenProcesses(t *testing.T) {
	for _, backend := range catalog.Native() {
		t.Run(backend, func(t *testing.T) {
			p := newPlace(t)
			s := p.start("supervise", "--lifeline", "-c", "dynamic_shared_memory_type="+backend)
			s.Expect("ready: ")
			pinned := strings.TrimSpace(p.ok("create", "--pin", "pinned"))
			holder := p.start("create", "held")
			held := holder.Expect("")
			for h, want := range map[string]string{pinned: "pinned", held: "held"} {
				if got := p.ok("read", h); got != want {
					t.Errorf("read %q, want %q", got, want)
				}
			}
			if got := p.ok("ls"); !strings.Contains(got, pinned) || !strings.Contains(got, held) {
				t.Errorf("ls: %s", got)
			}
			holder.Kill()
			instancetest.Eventually(t, "the held segment is gone", func() bool {
				return instancetest.Objects(t, p.dir) == 1
			})
			instancetest.Eventually(t, "its holder too", func() bool {
				return !strings.Contains(p.ok("ps"), "dsmdemo create")
			})
			p.fails(1, "no such segment", "read", held)
			if got := p.ok("read", pinned); got != "pinned" {
				t.Errorf("read %q", got)
			}
			p.ok("unpin", pinned)
			instancetest.Eventually(t, "the unpinned segment is gone", func() bool {
				return instancetest.Objects(t, p.dir) == 0
			})
			if err := s.Close(); err != nil {
				t.Errorf("supervise: %v: %s", err, s.Stderr())
			}
			p.fails(3, "no running instance", "ls")
		})
	}
}

// TestTour: the demo says that it has seen what it promises.
func TestTour(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(strings.Repeat("a line of text\n", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, backend := range catalog.Native() {
		t.Run(backend, func(t *testing.T) {
			p := newPlace(t)
			out := p.ok("demo", "-c", "dynamic_shared_memory_type="+backend, file)
			for _, want := range []string{"hello from a process that is gone", "together 100000 lines",
				"counted here alone: 100000", "its 100 objects gone after", "10 before the abort, 0 after",
				`bytes "still here"`, "Nothing is left."} {
				if !strings.Contains(out, want) {
					t.Errorf("the demo does not say %q:\n%s", want, out)
				}
			}
		})
	}
}
