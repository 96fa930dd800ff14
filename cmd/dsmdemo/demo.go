package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/godsm/godsm/cmd/dsmdemo/child"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "demo [FILE...]",
		GroupID: cli.Try,
		Short:   "The tour: share, kill -9, reclaim, restart, and a look that nothing is left",
		Long: `The tour, in under a minute, in a private instance of its own: bytes shared between processes, several
workers on one segment over real input (FILE, or the source files of the Go distribution, as much as fits), kill -9 of a
process that holds references, an owner that ends half-way, a supervisor killed and started again, and at last an
independent look at the system that nothing is left.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &tour{app: a, files: args}
			err := t.run(cmd.Context())
			if err != nil {
				t.step("it went wrong: %v", err)
			}
			return err
		},
	}
}

// tour is one run of the demo. Its processes are this program: a supervisor, and others that share with it.
type tour struct {
	*app
	files      []string
	dir        string
	lives      []uuid.UUID
	supervisor *guest
	session    *dsm.Session
	steps      int
}

func (t *tour) run(ctx context.Context) (err error) {
	switch memory, err := t.memoryType(); {
	case err != nil:
		return err
	case memory == "none":
		return t.refusals(ctx)
	}
	defer func() { err = errors.Join(err, t.end()) }()
	for _, part := range []func(context.Context) error{
		t.supervise, t.createRead, t.shareWork, t.killHolder, t.abortOwner, t.killSupervisor, t.lookAround,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// memoryType returns the type of shared memory that was asked for.
func (t *tour) memoryType() (string, error) {
	s, err := instance.Backends{}.Load(t.Config.Dir, t.Config.Settings)
	if err != nil {
		return "", err
	}
	return s.DynamicSharedMemoryType, nil
}

// step prints the heading of a part, say a line of it.
func (t *tour) step(format string, args ...any) {
	t.steps++
	t.print("step", fmt.Sprintf("%d. "+format, append([]any{t.steps}, args...)...))
}

func (t *tour) say(format string, args ...any) { t.print("say", "   "+fmt.Sprintf(format, args...)) }

func (t *tour) print(kind, text string) {
	if t.JSON {
		_ = t.PrintJSON(map[string]string{"event": kind, "text": strings.TrimSpace(text)})
		return
	}
	if kind == "step" && t.steps > 1 {
		fmt.Fprintln(t.Stdout)
	}
	fmt.Fprintln(t.Stdout, text)
}

// guest is another process of this program.
type guest struct{ *child.Child }

func (t *tour) start(args ...string) (*guest, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, s := range t.Settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(exe, append(args, "--log-level", t.LogLevel)...)
	cmd.Stderr = t.Stderr
	c, err := child.Start(cmd)
	return &guest{c}, err
}

// line waits for the next line that the guest prints.
func (g *guest) line() (string, error) {
	if !g.Says.Scan() {
		return "", fmt.Errorf("process %d said nothing: %v", g.Pid(), g.Wait())
	}
	return g.Says.Text(), nil
}

func (g *guest) kill() {
	_ = g.Process.Kill()
	_ = g.Wait()
}

// close ends the guest by ending its input.
func (g *guest) close() error {
	g.Orders.Close()
	return g.Wait()
}

func (t *tour) supervise(ctx context.Context) (err error) {
	t.step("A supervisor starts. It is a process of its own and owns an instance, in a directory made for this tour.")
	if t.supervisor, err = t.startSupervisor("--private"); err != nil {
		return err
	}
	cfg := t.Config
	cfg.Dir = t.dir
	if t.session, err = dsm.Open(ctx, cfg); err != nil {
		return err
	}
	st, err := t.session.Status(ctx)
	if err != nil {
		return err
	}
	t.say("process %d, backend %s, generation %d, in %s", st.Supervisor, st.Backend, st.Generation, st.Dir)
	return nil
}

func (t *tour) startSupervisor(where ...string) (*guest, error) {
	c, err := t.start(append([]string{"supervise", "--json", "--lifeline"}, where...)...)
	if err != nil {
		return nil, err
	}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	var ready struct{ Dir string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		return nil, fmt.Errorf("the supervisor said %q: %w", line, err)
	}
	t.dir = ready.Dir
	return c, nil
}

func (t *tour) createRead(context.Context) error {
	t.step("One process creates a segment and ends; another one reads it. The handle is all that they tell each other.")
	c, err := t.start("create", "--pin", "--dir", t.dir, "hello from a process that is gone")
	if err != nil {
		return err
	}
	handle, err := c.line()
	if err := errors.Join(err, c.close()); err != nil {
		return err
	}
	r, err := t.start("read", "--dir", t.dir, handle)
	if err != nil {
		return err
	}
	text, err := r.line()
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	t.say("process %d: dsmdemo create --pin ...   -> %s", c.Pid(), handle)
	t.say("process %d: dsmdemo read %s -> %q", r.Pid(), handle, text)
	h, err := dsm.ParseHandle(handle)
	if err != nil {
		return err
	}
	t.say("A pin keeps the segment while no session has it attached; now the pin is removed, and the segment with it.")
	return t.session.Unpin(context.Background(), h)
}

func (t *tour) abortOwner(ctx context.Context) error {
	t.step("A job under a resource owner fails half-way. Its owner is aborted, and what it had made is gone.")
	owner, err := t.session.Owner().Child("job")
	if err != nil {
		return err
	}
	for range 10 {
		if _, err := t.session.Create(ctx, owner, 4096); err != nil {
			return err
		}
	}
	before, err := t.count(ctx)
	if err != nil {
		return err
	}
	if err := owner.Abort(); err != nil {
		return err
	}
	after, err := t.count(ctx)
	t.say("segments in the instance: %d before the abort, %d after", before, after)
	return err
}

func (t *tour) count(ctx context.Context) (int, error) {
	list, err := t.session.Segments(ctx)
	return len(list), err
}

func (t *tour) killSupervisor(ctx context.Context) error {
	t.step("kill -9 of the supervisor. Sessions work on without it; the next one adopts them and what they hold.")
	g, err := t.session.Create(ctx, t.session.Owner(), 4096)
	if err != nil {
		return err
	}
	copy(g.Bytes(), "still here")
	old := t.supervisor.Pid()
	t.supervisor.kill()
	h, err := t.session.Create(ctx, t.session.Owner(), 4096)
	if err != nil {
		return fmt.Errorf("with no supervisor: %w", err)
	}
	t.say("process %d is dead; this session has just created segment %s without it", old, h.Handle())
	begin := time.Now()
	if t.supervisor, err = t.startSupervisor("--dir", t.dir); err != nil {
		return err
	}
	took := time.Since(begin)
	st, err := t.session.Status(ctx)
	if err != nil {
		return err
	}
	t.say("process %d took over after %v: generation %d as before, %d session, %d segments, bytes %q", st.Supervisor,
		took.Round(time.Millisecond), st.Generation, st.Sessions, st.Segments, g.Bytes()[:10])
	return errors.Join(g.Detach(), h.Detach())
}

func (t *tour) lookAround(ctx context.Context) error {
	t.step("The end: all sessions leave, the supervisor stops, and a check of the system's own lists shows what is left.")
	st, err := t.session.Status(ctx)
	if err != nil {
		return err
	}
	t.lives = objectlist.KnownLives(t.dir)
	before := len(objectlist.Objects(t.lives, t.mmapDirectories()...))
	if err := t.end(); err != nil {
		return err
	}
	t.say("objects that bear one of this instance's lives on the shm mount, in the SysV table and in its directory:")
	left := objectlist.Objects(t.lives, t.mmapDirectories()...)
	t.say("%d before the stop (control segment and %d segments), %d now", before, st.Segments, len(left))
	if _, err := os.Stat(t.dir); err == nil {
		return fmt.Errorf("the directory %s is still there", t.dir)
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	t.say("Nothing is left.")
	return nil
}

func (t *tour) mmapDirectories() []string {
	dirs := []string{t.dir + "/mmap"}
	for _, s := range t.Settings {
		if dir, ok := strings.CutPrefix(s, "mmap_directory="); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// end stops what still runs.
func (t *tour) end() (err error) {
	if t.session != nil {
		err = t.session.Close()
		t.session = nil
	}
	if t.supervisor != nil {
		_ = t.supervisor.Process.Signal(os.Interrupt)
		err = errors.Join(err, t.supervisor.close()) // which is the word to stop where there are no signals
		t.supervisor = nil
	}
	return err
}

// refusals shows, as the tour of type none, that every command fails and says why.
func (t *tour) refusals(ctx context.Context) error {
	t.step("dynamic_shared_memory_type is none: shared memory is switched off, and everything says so.")
	for _, args := range [][]string{{"supervise"}, {"create", "hello"}, {"read", "0000000010000"}} {
		c, err := t.start(append(args, "--dir", t.Config.Dir)...)
		if err != nil {
			return err
		}
		err = c.close()
		t.say("dsmdemo %s -> %v (its words are on stderr)", strings.Join(args, " "), err)
		if err == nil {
			return fmt.Errorf("dsmdemo %s worked", args[0])
		}
	}
	_, err := dsm.Open(ctx, t.Config)
	t.say("dsm.Open -> %v", err)
	if !errors.Is(err, dsm.ErrDisabled) {
		return errors.New("that is not ErrDisabled")
	}
	return nil
}
