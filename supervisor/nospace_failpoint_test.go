//go:build failpoint && linux

package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
)

func init() {
	proctest.Register("supervise aloud", func(c *proctest.Child) error { // which logs to stderr
		cfg := config(c.Args[0], c.Args[1:])
		cfg.Logger = zerolog.New(os.Stderr)
		s, err := supervisor.Start(ctx, cfg)
		if err != nil {
			c.Say("error %v", err)
			return nil
		}
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		c.Say("ready %d", st.Generation)
		c.Hear()
		return s.Stop()
	})
}

// without runs a supervisor for which the system has no space at some of its calls: the nth time that it comes to the
// point, and as many times after that as times says.
func (e env) without(point string, nth, times int, settings ...string) *proctest.Process {
	e.t.Helper()
	step := fmt.Sprintf("%s#%d=ENOSPC", point, nth) // a time at which a step has acted does not count for the next one
	cmd := proctest.Command("supervise aloud", append([]string{e.dir}, settings...)...)
	cmd.Env = append(cmd.Environ(), "DSM_FAILPOINT="+strings.TrimSuffix(strings.Repeat(step+",", times), ","))
	p := proctest.Run(e.t, cmd)
	e.t.Cleanup(func() { _ = p.Close() })
	return p
}

// noSpaceAt are the calls of a start that need space, on each backend.
var noSpaceAt = map[string][]string{
	"posix": {"atomicfile/write", "liveness/create", "filemap/mmap"},
	"mmap":  {"atomicfile/write", "liveness/create", "filemap/mmap"},
	"sysv":  {"atomicfile/write", "liveness/create", "sysv/shmat"},
}

// TestNoSpaceAtAStart: a start that finds no space at one of its calls, or from there on for a while, says so and leaves
// nothing that the next start does not remove.
func TestNoSpaceAtAStart(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, point := range noSpaceAt[backend] {
			refused := 0
			for nth := 1; ; nth++ {
				e := newEnv(t)
				var answers []string
				for _, times := range []int{1, 3} {
					p := e.without(point, nth, times, "dynamic_shared_memory_type", backend)
					line, _ := p.Line()
					answers = append(answers, line)
					if strings.HasPrefix(line, "error") {
						refused++
						if !strings.Contains(line, "no space") && !strings.Contains(line, "free") {
							t.Errorf("%s#%d: %s", point, nth, line)
						}
					}
					_ = p.Close()
				}
				p := proctest.Start(t, "supervise", e.dir, "dynamic_shared_memory_type", backend)
				p.Expect("ready ")
				noErr(t, p.Close())
				e.noneLeft()
				if strings.HasPrefix(answers[1], "ready") {
					break
				}
			}
			if refused == 0 {
				t.Errorf("no start was refused at %s", point)
			}
		}
	})
}

// startWrites is how often a first start writes a file: a fault at the next time comes when the instance runs.
func startWrites(t *testing.T, backend string) int {
	t.Helper()
	for nth := 1; ; nth++ {
		e := newEnv(t)
		p := e.without("atomicfile/write", nth, 10, "dynamic_shared_memory_type", backend)
		line, _ := p.Line()
		_ = p.Close()
		if strings.HasPrefix(line, "ready") {
			return nth - 1
		}
	}
}

// once makes the test fail unless the supervisor has said that exactly once.
func once(t *testing.T, p *proctest.Process, text string) {
	t.Helper()
	if n := strings.Count(p.Stderr(), text); n != 1 {
		t.Errorf("%q is said %d times: %s", text, n, p.Stderr())
	}
}

// TestNoSpaceForTheNextGeneration: a supervisor that must begin again and finds no space says so once, tries again, and
// succeeds; nothing of the generations that could not begin is left.
func TestNoSpaceForTheNextGeneration(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		writes := startWrites(t, backend)
		for _, c := range []struct {
			point string
			nth   int
		}{
			{"atomicfile/write", writes + 1}, {"atomicfile/write", writes + 2}, {"liveness/create", 2},
			{noSpaceAt[backend][2], 3}, // the second is the helper's look at the status
		} {
			e := newEnv(t)
			sup := e.without(c.point, c.nth, 2, "dynamic_shared_memory_type", backend, "on_crash", "restart")
			sup.Expect("ready 1")
			a, b := e.session(), e.session()
			e.create(a, 100, 3)
			e.create(b, 100, 3)
			a.Kill()
			b.Send("done")
			b.Expect("error the instance has stopped or begun a new generation")
			check(b) // its bytes stay as long as it has them
			instancetest.Eventually(t, "the next generation", func() bool {
				r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
				return err == nil && r.Status.Generation > 1
			})
			b.Send("close")
			b.Expect("closed")
			d := e.session()
			e.create(d, 100, 1)
			noErr(t, d.Close())
			noErr(t, sup.Close())
			once(t, sup, "the next generation can't begin now; it is tried again every second")
			e.noneLeft()
		}
	})
}

// TestNoSpaceForAnAdoption: living sessions are adopted though nothing can be written.
func TestNoSpaceForAnAdoption(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, point := range []string{"atomicfile/write", "liveness/create"} {
			e := newEnv(t)
			sup, generation := e.supervise("dynamic_shared_memory_type", backend)
			a := e.session()
			e.create(a, 100, 3)
			sup.Kill()
			next := e.without(point, 1, 5, "dynamic_shared_memory_type", backend)
			if got := next.Expect("ready "); got != generation {
				t.Errorf("%s: generation %s, it was %s", point, got, generation)
			}
			check(a)
			b := e.session()
			e.create(b, 100, 1)
			noErr(t, b.Close())
			noErr(t, a.Close())
			noErr(t, next.Close())
			e.noneLeft()
		}
	})
}

// TestNoSpaceToMend: a file that newcomers need is written again as soon as there is space; it is said once that there
// is none, and who is in goes on.
func TestNoSpaceToMend(t *testing.T) {
	backend := "posix"
	writes := startWrites(t, backend)
	for _, name := range []string{"instance", "lives"} {
		e := newEnv(t)
		sup := e.without("atomicfile/write", writes+1, 2, "dynamic_shared_memory_type", backend)
		sup.Expect("ready ")
		a := e.session()
		e.create(a, 100, 3)
		path := filepath.Join(e.dir, name)
		must(t, os.Remove(path))
		instancetest.Eventually(t, name+" is there again", func() bool { _, err := os.Stat(path); return err == nil })
		check(a)
		b := e.session()
		e.create(b, 100, 1)
		noErr(t, b.Close())
		noErr(t, a.Close())
		noErr(t, sup.Close())
		once(t, sup, "can't be written now; it is tried again every second")
		once(t, sup, "and is written again")
		e.noneLeft()
	}
}
