//go:build unix

package recipes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	proctest.Register("program", programHelper)
	proctest.Register("holder", holderHelper)
	proctest.Register("lock", lockHelper)
	proctest.Register("loader", loaderHelper)
	proctest.Main(m)
}

// programHelper: DIR COUNT. It holds so many segments of 40 kB, of which one is pinned.
func programHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "program"})
	if err != nil {
		return err
	}
	defer s.Close()
	var count int
	if _, err := fmt.Sscan(c.Args[1], &count); err != nil {
		return err
	}
	for i := range count {
		g, err := s.Create(ctx, s.Owner(), 40000)
		if err == nil && i == 0 {
			err = g.Pin(ctx)
		}
		if err != nil {
			return err
		}
	}
	c.Say("holds %d", count)
	c.Hear()
	return nil
}

// holderHelper: DIR. It holds a lock.
func holderHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "holder"})
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	if err != nil {
		return err
	}
	if _, err := t.Lock(ctx, locktable.Exclusive, "layers", "a"); err != nil {
		return err
	}
	c.Say("holds the lock")
	c.Hear()
	return nil
}

// jobs is a program's own structure, with a lock in it.
type jobs struct{ Lock shmsync.LWLockWord }

// lockHelper: DIR. It locks a lock of its own in a segment, as long as it takes.
func lockHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "worker"})
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := registry.Segment[jobs](ctx, s, "jobs", nil)
	if err != nil {
		return err
	}
	c.Say("locks")
	if _, err := shmsync.NewLWLock(&j.Lock, s.Self()).Lock(ctx); err != nil {
		return err
	}
	c.Say("holds the lock")
	c.Hear()
	return nil
}

// loaderHelper: DIR. It loads a key of a cache, which takes for ever.
func loaderHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "loader"})
	if err != nil {
		return err
	}
	defer s.Close()
	pages, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 1 << 20})
	if err != nil {
		return err
	}
	_, err = pages.Load(ctx, []byte("front"), nil, func(context.Context) ([]byte, error) {
		c.Say("loads")
		c.Hear()
		return nil, nil
	})
	return err
}

// faults make what each section of the page is about, in an instance of 42 segments. They return the process that the page calls PID.
var faults = map[string]func(t *testing.T, dir string) (pid int){
	"A stuck lock": func(t *testing.T, dir string) int {
		holder, first, loader := proctest.Start(t, "holder", dir), proctest.Start(t, "lock", dir), proctest.Start(t, "loader", dir)
		holder.Expect("holds the lock")
		first.Expect("locks")
		first.Expect("holds the lock")
		loader.Expect("loads")
		second := proctest.Start(t, "lock", dir)
		second.Expect("locks")
		instancetest.Eventually(t, "one waits for the other", func() bool {
			words, err := survey.Words(ctx, dsm.Config{Dir: dir}, "jobs")
			return err == nil && len(words) == 1
		})
		for _, p := range []*proctest.Process{holder, first, loader} {
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Kill)
		}
		instancetest.Eventually(t, "three are seen stopped", func() bool {
			r, err := dsm.Inspect(ctx, dsm.Config{Dir: dir})
			stopped := 0
			for _, s := range r.Sessions {
				if s.State == dsm.SessionStopped {
					stopped++
				}
			}
			return err == nil && stopped == 3
		})
		t.Cleanup(second.Kill)
		return holder.Pid
	},
	"A leak":            func(t *testing.T, dir string) int { return program(t, dir, 40).Pid },
	"Memory that grows": func(t *testing.T, dir string) int { return program(t, dir, 40).Pid },
	"A full table": func(t *testing.T, dir string) int {
		p := program(t, dir, 42)
		s := instancetest.Open(t, dsm.Config{Dir: dir})
		if _, err := s.Create(ctx, s.Owner(), 1); !errors.Is(err, dsm.ErrTooManySegments) {
			t.Errorf("a segment more: %v", err)
		}
		return p.Pid
	},
	"A process that is OOM-killed": func(t *testing.T, dir string) int {
		p := program(t, dir, 3)
		p.Kill() // which the kernel does by the same signal
		instancetest.Eventually(t, "what it held is given back", func() bool {
			r, err := dsm.Inspect(ctx, dsm.Config{Dir: dir})
			return err == nil && len(r.Sessions) == 0 && len(r.Segments) == 1
		})
		return p.Pid
	},
}

func program(t *testing.T, dir string, count int) *proctest.Process {
	t.Helper()
	p := proctest.Start(t, "program", dir, fmt.Sprint(count))
	p.Expect("holds ")
	return p
}

// command is one that the page shows, with lines of its output.
type command struct {
	args  []string
	shows []string
}

// recipes reads the page: the commands of each section.
func recipes(t *testing.T) map[string][]command {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "doc", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	found, section := map[string][]command{}, ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = name
			found[section] = nil
		} else if c, ok := strings.CutPrefix(line, "    $ dsmctl "); ok {
			found[section] = append(found[section], command{args: strings.Fields(c)})
		} else if shown, ok := strings.CutPrefix(line, "    "); ok {
			list := found[section]
			list[len(list)-1].shows = append(list[len(list)-1].shows, shown)
		}
	}
	return found
}

// pattern is a line of the page, in which ... stands for anything.
func pattern(line string) *regexp.Regexp {
	parts := strings.Split(line, "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(parts[i]))
	}
	return regexp.MustCompile(`(?m)\b` + strings.Join(parts, ".*") + `\b`)
}

func TestRecipes(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "dsmctl")
	build := exec.Command("go", "build", "-o", bin, "./cmd/dsmctl")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := recipes(t)
	for section := range faults {
		if found[section] == nil {
			t.Errorf("the page has no section %q with a command", section)
		}
	}
	for section, commands := range found {
		t.Run(section, func(t *testing.T) {
			fault := faults[section]
			if fault == nil || len(commands) == 0 {
				t.Fatal("a section without a fault that is made here, or without a command")
			}
			cfg := instancetest.Config(t, "posix", "max_segments", "42")
			instancetest.Start(t, cfg)
			pid := fmt.Sprint(fault(t, cfg.Dir))
			for _, c := range commands {
				for i := range c.args {
					c.args[i] = strings.ReplaceAll(c.args[i], "PID", pid)
				}
				cmd := exec.Command(bin, c.args...)
				cmd.Dir = t.TempDir() // for what a command writes
				cmd.Env = append(os.Environ(), "DSM_DIR="+cfg.Dir)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if exit, ok := errors.AsType[*exec.ExitError](err); ok && (c.args[0] != "doctor" || exit.ExitCode() != 1) { // which finds what the machine has
					t.Errorf("dsmctl %s: %v: %s", strings.Join(c.args, " "), err, stderr.String())
				}
				for _, line := range c.shows {
					if !pattern(line).Match(out) {
						t.Errorf("dsmctl %s does not show %q:\n%s", strings.Join(c.args, " "), line, out)
					}
				}
				if len(c.shows) == 0 && len(strings.TrimSpace(string(out))) > 0 {
					t.Errorf("dsmctl %s shows something:\n%s", strings.Join(c.args, " "), out)
				}
			}
		})
	}
}
