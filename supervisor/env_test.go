package supervisor_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
)

// pairs are settings as arguments: name value name value ...
func config(dir string, pairs []string) dsm.Config {
	cfg := dsm.Config{Dir: dir, Settings: map[string]string{"max_processes": "20", "max_segments": "1200",
		"shutdown_timeout": "1s"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "own_backend" {
			cfg.Backend = ownBackends[pairs[i+1]]
			continue
		}
		cfg.Settings[pairs[i]] = pairs[i+1]
	}
	return cfg
}

// ownBackends are those that tests plug in, by name.
var ownBackends = map[string]dsmimpl.Backend{}

// superviseHelper: DIR [NAME VALUE]...
func superviseHelper(c *proctest.Child) error {
	s, err := supervisor.Start(ctx, config(c.Args[0], c.Args[1:]))
	if err != nil {
		c.Say("error %v", err)
		return nil
	}
	st, err := s.Status(ctx)
	if err != nil {
		return err
	}
	c.Say("ready %d", st.Generation)
	if line, _ := c.Hear(); line == "leave" {
		c.Say("left %v", s.Leave())
		c.Hear()
	}
	return s.Stop()
}

// sessionHelper: DIR; then it does what it hears.
func sessionHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0], Application: "session helper"})
	if err != nil {
		c.Say("error %v", err)
		return nil
	}
	c.Say("open")
	segments := map[dsm.Handle]*dsm.Segment{}
	answer := func(what any, err error) {
		if err != nil {
			what = fmt.Sprintf("error %v", err)
		}
		c.Say("%v", what)
	}
	for {
		line, ok := c.Hear()
		if !ok {
			return s.Close()
		}
		f := strings.Fields(line)
		switch f[0] {
		case "create": // SIZE COUNT
			size, _ := strconv.Atoi(f[1])
			n, _ := strconv.Atoi(f[2])
			var last dsm.Handle
			for range n {
				g, err := s.Create(ctx, s.Owner(), size)
				if err != nil {
					return err
				}
				last = g.Handle()
				segments[last] = g
				copy(g.Bytes(), last.String())
			}
			answer(last, nil)
		case "attach":
			h, _ := dsm.ParseHandle(f[1])
			g, err := s.Attach(ctx, s.Owner(), h)
			if err == nil {
				segments[h] = g
				if !strings.HasPrefix(string(g.Bytes()), h.String()) {
					err = errors.New("wrong bytes")
				}
			}
			answer("attached", err)
		case "pin":
			h, _ := dsm.ParseHandle(f[1])
			answer("pinned", segments[h].Pin(ctx))
		case "check": // all bytes are still there
			var err error
			for h, g := range segments {
				if !strings.HasPrefix(string(g.Bytes()), h.String()) {
					err = fmt.Errorf("wrong bytes in %s", h)
				}
			}
			answer("good", err)
		case "done":
			<-s.Done()
			answer(nil, s.Err())
		case "close":
			err := s.Close()
			answer("closed", err)
			return nil
		}
	}
}

func (e env) create(p *proctest.Process, size, n int) (last string) {
	e.t.Helper()
	p.Send("create %d %d", size, n)
	l, _ := p.Line()
	if strings.HasPrefix(l, "error") {
		e.t.Fatal(l)
	}
	return l
}

// env is a test's own instance, in a directory of its own.
type env struct {
	t   *testing.T
	dir string
}

func newEnv(t *testing.T) env {
	t.Helper()
	return env{t, instancetest.TempDir(t)}
}

// supervise runs a supervisor in a process of its own. At the test's end it is stopped, and then nothing may be left.
func (e env) supervise(pairs ...string) (p *proctest.Process, generation string) {
	e.t.Helper()
	instancetest.NoneLeft(e.t, e.dir)
	p = proctest.Start(e.t, "supervise", append([]string{e.dir}, pairs...)...)
	e.t.Cleanup(func() { _ = p.Close() })
	return p, p.Expect("ready ")
}

// session is one in a process of its own, open one in this process.
func (e env) session() *proctest.Process {
	e.t.Helper()
	p := proctest.Start(e.t, "session", e.dir)
	p.Expect("open")
	return p
}

func (e env) open() *dsm.Session {
	e.t.Helper()
	return instancetest.Open(e.t, dsm.Config{Dir: e.dir})
}

func create(t *testing.T, s *dsm.Session, size int) *dsm.Segment {
	t.Helper()
	g, err := s.Create(ctx, s.Owner(), size)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// check sees that a session's process still has all bytes of its segments.
func check(session *proctest.Process) {
	session.Send("check")
	session.Expect("good")
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// noneLeft sees that no object of the instance is left now.
func (e env) noneLeft() {
	e.t.Helper()
	if left := objectlist.Objects(instancetest.Lives(e.t, e.dir), filepath.Join(e.dir, "mmap")); len(left) > 0 {
		e.t.Errorf("left behind: %v", left)
	}
}

func (e env) report() dsm.Report {
	e.t.Helper()
	r, err := dsm.Inspect(ctx, dsm.Config{Dir: e.dir})
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e env) objects() int { return instancetest.Objects(e.t, e.dir) }
