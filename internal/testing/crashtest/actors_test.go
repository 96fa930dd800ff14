//go:build linux

package crashtest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

var (
	ctx  = context.Background()
	full = flag.Bool("full", false, "every failpoint in every scenario, backend and way")
)

// arm sets a failpoint plan; nil in a build without the tag failpoint.
var arm func(plan string) error

func TestMain(m *testing.M) {
	runtime.LockOSThread() // a command's calls come from one thread: strace counts by thread
	if _, ok := os.LookupEnv(janitorVariable); ok {
		tidyAfter()
		os.Exit(0)
	}
	parallel.Main()
	for name, commands := range actors {
		proctest.Register(name, func(c *proctest.Child) error { return act(c, commands) })
	}
	proctest.Main(m)
}

// actor is what a helper process has at hand.
type actor struct {
	cfg        dsm.Config
	session    *dsm.Session
	supervisor *supervisor.Supervisor
	segments   []*dsm.Segment
}

type command func(a *actor, args []string) error

// actors are the helpers, each with the commands that it takes, one a line. It answers each with ok or an error.
var actors = map[string]map[string]command{
	"session": {
		"open":   (*actor).open,
		"create": (*actor).create,
		"pin":    func(a *actor, _ []string) error { return a.segments[len(a.segments)-1].Pin(ctx) },
		"play":   (*actor).play,
		"close":  func(a *actor, _ []string) error { return a.session.Close() },
		"lead":   (*actor).lead,
		"again":  (*actor).again,
		"fresh":  (*actor).fresh,
		"lend":   (*actor).lend,
		"watch":  func(a *actor, _ []string) error { <-a.session.Done(); return a.session.Close() },
	},
	"supervise": {
		"start": func(a *actor, _ []string) (err error) {
			a.supervisor, err = supervisor.Start(ctx, a.cfg)
			return err
		},
		"private": func(a *actor, _ []string) (err error) {
			a.supervisor, err = supervisor.StartPrivate(ctx, a.cfg)
			if err != nil {
				return err
			}
			st, err := a.supervisor.Status(ctx)
			fmt.Println("dir", st.Dir)
			return err
		},
		"alone": func(a *actor, _ []string) (err error) {
			a.supervisor, err = supervisor.StartPrivate(ctx, a.cfg)
			return err
		},
		"run": func(a *actor, _ []string) error {
			return supervisor.Run(ctx, a.cfg, func(ctx context.Context, s *dsm.Session) error {
				_, err := s.Create(ctx, s.Owner(), 10000)
				return err
			})
		},
		"stop":  func(a *actor, _ []string) error { return a.supervisor.Stop() },
		"leave": func(a *actor, _ []string) error { return a.supervisor.Leave() },
		"clean": func(a *actor, _ []string) error {
			_, err := instance.Clean(ctx, a.cfg.Dir, instance.Backends{Custom: a.cfg.Backend},
				instance.Who("clean"), a.cfg.Logger)
			return err
		},
	},
}

func act(c *proctest.Child, commands map[string]command) error {
	a := &actor{cfg: config(c.Args[0], c.Args[1:])}
	a.cfg.Logger = zerolog.New(os.Stderr)
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // where only parents may trace
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		f := strings.Fields(line)
		var err error
		switch f[0] {
		case "ready":
		case "arm":
			err = arm(f[1])
		default:
			err = commands[f[0]](a, f[1:])
		}
		if err != nil {
			c.Say("error %s: %v", f[0], strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		c.Say("ok %s", f[0])
	}
}

// config is of an instance with small tables. Settings are name=value.
func config(dir string, settings []string) dsm.Config {
	cfg := dsm.Config{Dir: dir, Settings: map[string]string{"max_processes": "8", "max_segments": "40",
		"shutdown_timeout": "1s"}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		cfg.Settings[name] = value
	}
	if cfg.Settings["dynamic_shared_memory_type"] == "kept" {
		cfg.Backend = kept{posix.New()}
	}
	return cfg
}

// kept is posix for a system on which a process must keep pinned objects open.
type kept struct{ dsmimpl.Backend }

func (kept) Name() string { return "kept" }

func (k kept) Locate(o dsmimpl.Object) string { return k.Backend.(dsmimpl.Locator).Locate(o) }

func (k kept) Keep(o dsmimpl.Object) (uintptr, error) {
	fd, err := unix.Open(k.Locate(o), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return uintptr(fd), err
}

func (kept) Release(token uintptr) error { return unix.Close(int(token)) }

func (a *actor) open([]string) (err error) {
	a.session, err = dsm.Open(ctx, a.cfg)
	return err
}

// create SIZE makes a segment, full of its low byte.
func (a *actor) create(args []string) error {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	g, err := a.session.Create(ctx, a.session.Owner(), size)
	if err != nil {
		return err
	}
	fill(g)
	a.segments = append(a.segments, g)
	return nil
}

func fill(g *dsm.Segment) { copy(g.Bytes(), bytes.Repeat([]byte{byte(g.Handle() >> 16)}, g.Size())) }

// whole reports whether a segment holds what fill wrote.
func whole(g *dsm.Segment) bool {
	return bytes.Count(g.Bytes(), []byte{byte(g.Handle() >> 16)}) == g.Size()
}

const huge = math.MaxInt >> 18 // 32 TiB

// play SHARED goes through all that a session does.
func (a *actor) play(args []string) error {
	shared, err := dsm.ParseHandle(args[0])
	if err != nil {
		return err
	}
	s := a.session
	var errs []error
	try := func(err error) bool {
		errs = append(errs, err)
		return err == nil
	}
	for i := range 3 { // the second shares the mapping, and the third has its own
		if g, err := s.Attach(ctx, s.Owner(), shared); try(err) {
			if i == 2 {
				g.Region()
			}
			if !whole(g) {
				errs = append(errs, errors.New("wrong bytes in the shared segment"))
			}
			defer g.Detach()
		}
	}
	one, err := s.Create(ctx, s.Owner(), 100_000)
	if try(err) {
		one.Region()
		fill(one)
		try(one.Detach())
	}
	two, err := s.Create(ctx, s.Owner(), 5000)
	if try(err) && try(two.Pin(ctx)) {
		try(two.Detach())
		try(s.Unpin(ctx, two.Handle())) // destroys
	}
	if _, err := s.Create(ctx, s.Owner(), huge); err == nil && strconv.IntSize == 64 {
		errs = append(errs, errors.New("a segment of 32 TiB was made"))
	}
	if three, err := s.Create(ctx, s.Owner(), 7000); try(err) {
		three.Region()
		fill(three)
		try(three.Pin(ctx))
	}
	_, err = s.Create(ctx, s.Owner(), 3000) // left to Close
	try(err)
	return errors.Join(errs...)
}

// again creates and destroys, for one who waits for the lock.
func (a *actor) again([]string) error {
	g, err := a.session.Create(ctx, a.session.Owner(), 100)
	if err != nil {
		return err
	}
	return g.Detach()
}

// fresh creates again and again over what others have left, and looks at what it gets.
func (a *actor) fresh([]string) error {
	for range 40 {
		g, err := a.session.Create(ctx, a.session.Owner(), 9000)
		if err != nil {
			return err
		}
		if bytes.Count(g.Bytes(), []byte{0}) != g.Size() {
			return errors.New("wrong bytes in a new segment")
		}
		fill(g)
		if err := g.Detach(); err != nil {
			return err
		}
	}
	return nil
}

// lend closes the session while a lease lasts, which ends the session for it then.
func (a *actor) lend([]string) error {
	g, err := a.session.Create(ctx, a.session.Owner(), 9000)
	if err != nil {
		return err
	}
	lent, over, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- g.With(func(b []byte) error {
			close(lent)
			<-over
			if bytes.Count(b, []byte{0}) != len(b) {
				return errors.New("wrong bytes in a lease")
			}
			return nil
		})
	}()
	<-lent
	err = a.session.Close()
	close(over)
	return errors.Join(err, <-ended)
}

var share = parallel.Register("share", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	g, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	if !whole(g) {
		return errors.New("wrong bytes in the shared segment")
	}
	_, err = w.Session.Create(ctx, w.Owner, 1000)
	return err
})

// lead SHARED runs two workers.
func (a *actor) lead(args []string) error {
	h, err := dsm.ParseHandle(args[0])
	if err != nil {
		return err
	}
	return share.Run(ctx, a.session, 2, h)
}
