//go:build linux

package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// victim is a foreign file, alone in its directory, that nothing of ours may touch.
type victim struct {
	t    *testing.T
	path string
}

func newVictim(t *testing.T) victim {
	t.Helper()
	v := victim{t, filepath.Join(instancetest.TempDir(t), "victim")}
	if err := os.WriteFile(v.path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v victim) untouched(what string) {
	v.t.Helper()
	got, err := os.ReadFile(v.path)
	entries, _ := os.ReadDir(filepath.Dir(v.path))
	if string(got) != "precious" || len(entries) != 1 {
		v.t.Errorf("%s: the victim holds %q (%v), its directory %v", what, got, err, entries)
	}
}

type planting struct {
	name string
	at   func(path string, v victim) error
}

// plants are what may stand under a name of ours.
var plants = []planting{
	{"symlink to a file", func(path string, v victim) error { return os.Symlink(v.path, path) }},
	{"symlink to a directory", func(path string, v victim) error { return os.Symlink(filepath.Dir(v.path), path) }},
	{"symlink to nothing", func(path string, v victim) error { return os.Symlink(v.path+".new", path) }},
	{"fifo", func(path string, _ victim) error { return syscall.Mkfifo(path, 0o600) }},
	{"directory", func(path string, _ victim) error { return os.Mkdir(path, 0o700) }},
	{"full directory", func(path string, _ victim) error { return os.MkdirAll(path+"/x", 0o700) }},
	{"another user's file", func(path string, _ victim) error {
		return errors.Join(os.WriteFile(path, []byte("max_segments = 5\n"), 0o644),
			os.Chown(path, instancetest.Stranger, instancetest.Stranger))
	}},
}

// eachPlant runs f for each of them, with a victim for it to point at.
func eachPlant(t *testing.T, prefix string, f func(t *testing.T, p planting, v victim)) {
	for _, p := range plants {
		t.Run(prefix+p.name, func(t *testing.T) {
			if strings.HasPrefix(p.name, "another user") {
				instancetest.NeedOtherUsers(t)
			}
			f(t, p, newVictim(t))
		})
	}
}

// within fails a test that hangs.
func within[T any](t *testing.T, what string, f func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case v := <-done:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
		panic("not reached")
	}
}

// TestPlantedFiles: whatever stands under one of the directory's names, a start works or says
// what to do; it never follows, waits or leaks.
func TestPlantedFiles(t *testing.T) {
	for _, name := range []string{"id", "id.new", "instance", "instance.new", "members.1", "supervisor",
		"supervisor.new", "dsm.conf", "mmap"} {
		eachPlant(t, name+"/", func(t *testing.T, p planting, v victim) {
			dir := instancetest.TempDir(t)
			path := filepath.Join(dir, name)
			if err := p.at(path, v); err != nil {
				t.Fatal(err)
			}
			backend := "posix"
			if name == "mmap" {
				backend = "mmap"
			}
			err := within(t, "a start", func() error { return startAndStop(dir, backend) })
			v.untouched("a start")
			if err == nil {
				if name == "dsm.conf" {
					t.Error("settings were taken from it")
				}
				return
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") &&
				!strings.Contains(err.Error(), "put the file itself there") {
				t.Errorf("%v does not say what to do", err)
			}
			if err := os.RemoveAll(path); err != nil { // the cure
				t.Fatal(err)
			}
			if err := startAndStop(dir, backend); err != nil {
				t.Errorf("after the cure: %v", err)
			}
			env{t, dir}.noneLeft()
		})
	}
}

func startAndStop(dir, backend string) error {
	s, err := supervisor.Start(ctx, config(dir, []string{"dynamic_shared_memory_type", backend}))
	if err != nil {
		return err
	}
	return s.Stop()
}

// TestPlantedInSettings: a file that others may write is no place for settings.
func TestPlantedInSettings(t *testing.T) {
	for _, c := range []struct {
		dir, file os.FileMode
		says      string
	}{{0o755, 0o666, "chmod go-w"}, {0o755, 0o660, "chmod go-w"}, {0o755, 0o644, ""}, {0o700, 0o666, ""}} {
		dir := instancetest.TempDir(t)
		conf := filepath.Join(dir, "dsm.conf")
		err := errors.Join(os.WriteFile(conf, nil, 0o600), os.Chmod(conf, c.file), os.Chmod(dir, c.dir))
		if err != nil {
			t.Fatal(err)
		}
		err = startAndStop(dir, "posix")
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("directory %#o, file %#o: %v", c.dir, c.file, err)
		}
	}
}

// TestPlantedUnderTheLiving: something else under the name of a running instance's file is never followed or waited
// for. The supervisor writes the file again, or begins a generation; what can't be replaced is named to newcomers.
func TestPlantedUnderTheLiving(t *testing.T) {
	for _, name := range []string{"instance", "lives", "members", "dsm.conf"} {
		eachPlant(t, name+"/", func(t *testing.T, p planting, v victim) {
			t.Parallel()
			cfg := instancetest.Config(t, "posix")
			instancetest.Start(t, cfg)
			old := instancetest.Open(t, cfg)
			path := filepath.Join(cfg.Dir, name)
			if name == "members" {
				path = members(t, cfg.Dir)
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := p.at(path, v); err != nil {
				t.Fatal(err)
			}
			stays := strings.HasSuffix(p.name, "directory") && !strings.HasPrefix(p.name, "symlink")
			open := func() error {
				s, err := dsm.Open(ctx, cfg)
				if err == nil {
					_ = s.Close()
				}
				return err
			}
			switch {
			case name == "dsm.conf", name == "instance" && stays:
				if err := within(t, "Open", open); err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("Open = %v, want it to name %s", err, path)
				}
				_, err := dsm.Inspect(ctx, cfg)
				if name == "dsm.conf" { // a look needs no setting of a file that the next start will be refused for
					if err != nil {
						t.Errorf("Inspect = %v", err)
					}
				} else if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("Inspect = %v, want it to name %s", err, path)
				}
			default:
				instancetest.Eventually(t, "newcomers can join", func() bool { return within(t, "Open", open) == nil })
			}
			_, err := old.Create(ctx, old.Owner(), 100)
			if name == "members" && stays { // another file can't come in its place: it is fenced
				<-old.Done()
				_, err = old.Create(ctx, old.Owner(), 100)
				if !errors.Is(err, dsm.ErrStale) {
					t.Errorf("Create of one that is fenced: %v", err)
				}
			} else if err != nil { // what is in stays in
				t.Errorf("Create: %v", err)
			}
			_ = within(t, "Clean", func() error {
				_, err := instance.Clean(ctx, cfg.Dir, instance.Backends{}, instance.Who("test"), zerolog.Nop())
				if !errors.Is(err, dsm.ErrInUse) {
					t.Errorf("Clean of a living instance = %v", err)
				}
				return err
			})
			v.untouched("a look at a living instance")
			_ = os.RemoveAll(path)
		})
	}
}

// plantedName is what the next control segment would be called if it bore what the last one did.
func plantedName(life uuid.UUID, generation uint64) string {
	return dsmimpl.Object{Life: life, Generation: generation, Handle: dsmimpl.ControlHandle}.Name()
}

// TestPlantedControl: what another user plants on the mount is neither used nor touched, and no name can be told before.
func TestPlantedControl(t *testing.T) {
	for _, backend := range []string{"posix", "mmap"} {
		eachPlant(t, backend+"/", func(t *testing.T, p planting, v victim) {
			dir := instancetest.TempDir(t)
			if err := startAndStop(dir, backend); err != nil {
				t.Fatal(err)
			}
			where := map[string]string{"posix": "/dev/shm", "mmap": filepath.Join(dir, "mmap")}[backend]
			path := filepath.Join(where, plantedName(instancetest.Life(t, dir), 2))
			if err := p.at(path, v); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(path)
			planted, _ := os.Lstat(path)
			s, err := supervisor.Start(ctx, config(dir, []string{"dynamic_shared_memory_type", backend}))
			if err != nil {
				t.Fatal(err)
			}
			if st, err := s.Status(ctx); err != nil || st.Generation != 2 {
				t.Errorf("generation %d, %v", st.Generation, err)
			}
			noErr(t, s.Stop())
			if now, err := os.Lstat(path); err != nil || !os.SameFile(now, planted) {
				t.Errorf("what was planted has gone: %v", err)
			}
			v.untouched("a start")
			_ = os.RemoveAll(path)
			env{t, dir}.noneLeft()
		})
	}
}

// TestPlantedSegment: another program puts something else in a live segment's place. A session that attaches
// it gets an error, one that has it keeps it, and its end removes the name at most.
func TestPlantedSegment(t *testing.T) {
	eachPlant(t, "", func(t *testing.T, p planting, v victim) {
		cfg := instancetest.Config(t, "posix")
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		g := create(t, a, 8)
		list, err := a.Segments(ctx)
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		path := list[0].OSName
		if err := errors.Join(os.Remove(path), p.at(path, v)); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(path)
		err = within(t, "Attach", func() error { _, err := b.Attach(ctx, b.Owner(), g.Handle()); return err })
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Attach = %v, want an error that names %s", err, path)
		}
		g.Bytes()[0] = 1
		v.untouched("an attach")
		if err := g.Detach(); err != nil {
			t.Errorf("Detach = %v", err)
		}
		v.untouched("a detach")
		if list, err = a.Segments(ctx); strings.Contains(p.name, "directory") && !strings.Contains(p.name, "symlink") {
			if err != nil || len(list) != 1 || !errors.Is(list[0].Failed, syscall.EISDIR) {
				t.Errorf("%+v, %v: want a row that says EISDIR", list, err)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			instancetest.Eventually(t, "the supervisor has tried again", func() bool {
				list, err = a.Segments(ctx)
				return err == nil && len(list) == 0
			})
		} else if err != nil || len(list) != 0 {
			t.Errorf("%+v, %v: want no row", list, err)
		}
	})
}

// TestRefusals: every door refuses a directory of another user's, or one that others can write, and says what to do.
func TestRefusals(t *testing.T) {
	doors := map[string]func(cfg dsm.Config) error{
		"Start": func(cfg dsm.Config) error {
			s, err := supervisor.Start(ctx, cfg)
			closeIf(err, func() { s.Stop() })
			return err
		},
		"Open": func(cfg dsm.Config) error {
			s, err := dsm.Open(ctx, cfg)
			closeIf(err, func() { s.Close() })
			return err
		},
		"Inspect": func(cfg dsm.Config) error { _, err := dsm.Inspect(ctx, cfg); return err },
		"Clean": func(cfg dsm.Config) error {
			_, err := instance.Clean(context.Background(), cfg.Dir, instance.Backends{},
				instance.Who("test"), zerolog.Nop())
			return err
		},
	}
	closed := func(d string) error { return os.Chmod(d, 0o700) }
	cases := map[string]struct {
		spoil func(dir string) error
		mend  func(dir string) error
		says  string
	}{
		"group-writable": {func(d string) error { return os.Chmod(d, 0o770) }, closed, "chmod go-w"},
		"world-writable": {func(d string) error { return os.Chmod(d, 0o777) }, closed, "chmod go-w"},
		"sticky":         {func(d string) error { return os.Chmod(d, 0o777|os.ModeSticky) }, closed, "chmod go-w"},
		"another user's": {
			func(d string) error { return os.Chown(d, instancetest.Stranger, instancetest.Stranger) },
			func(d string) error { return os.Chown(d, os.Geteuid(), os.Getegid()) },
			fmt.Sprintf("belongs to user 12345, and this process runs as user %d: run as the owner", os.Geteuid()),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if name == "another user's" {
				instancetest.NeedOtherUsers(t)
			}
			cfg := instancetest.Config(t, "posix")
			instancetest.Start(t, cfg)
			if err := c.spoil(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			for door, f := range doors {
				if err := f(cfg); !errors.Is(err, dsm.ErrPermission) || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), cfg.Dir) {
					t.Errorf("%s = %v, want it to say %q", door, err, c.says)
				}
			}
			if err := c.mend(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			if err := doors["Open"](cfg); err != nil {
				t.Errorf("after the cure: %v", err)
			}
		})
	}
}

func closeIf(err error, f func()) {
	if err == nil {
		f()
	}
}
