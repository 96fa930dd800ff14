package supervisor_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
)

// TestDamage: whatever has become of an instance's files and control segment, the start succeeds
// and leaves nothing of the old life.
func TestDamage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the control segment is a file on Linux alone")
	}
	instance := func(dir string) string { return filepath.Join(dir, "instance") }
	control := func(t *testing.T, dir string) string {
		m, _ := filepath.Glob("/dev/shm/" + idPrefix(t, dir) + "*0000000001zzz")
		if len(m) != 1 {
			t.Fatalf("control segment: %v", m)
		}
		return m[0]
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string) error
	}{
		{"nothing", func(*testing.T, string) error { return nil }},
		{"control segment truncated to 0", func(t *testing.T, d string) error { return os.Truncate(control(t, d), 0) }},
		{"control segment truncated", func(t *testing.T, d string) error { return os.Truncate(control(t, d), 5000) }},
		{"control segment zeroed", func(t *testing.T, d string) error { return overwrite(control(t, d), 0) }},
		{"control segment garbled", func(t *testing.T, d string) error { return overwrite(control(t, d), 0xa5) }},
		{"control segment's rows garbled", func(t *testing.T, d string) error {
			return overwriteFrom(control(t, d), 1152, 0x5a)
		}},
		{"control segment missing", func(t *testing.T, d string) error { return os.Remove(control(t, d)) }},
		{"instance file empty", func(t *testing.T, d string) error { return os.Truncate(instance(d), 0) }},
		{"instance file garbage", func(t *testing.T, d string) error {
			return os.WriteFile(instance(d), []byte("garbage\n"), 0o600)
		}},
		{"instance file missing", func(t *testing.T, d string) error { return os.Remove(instance(d)) }},
		{"id file missing", func(t *testing.T, d string) error { return os.Remove(filepath.Join(d, "id")) }},
		{"lives file missing", func(t *testing.T, d string) error { return os.Remove(filepath.Join(d, "lives")) }},
		{"lives file garbage", func(t *testing.T, d string) error {
			return os.WriteFile(filepath.Join(d, "lives"), []byte("garbage\n"), 0o600)
		}},
		{"lives and instance files missing", func(t *testing.T, d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "lives")), os.Remove(instance(d)))
		}},
		{"members file missing", func(t *testing.T, d string) error { return os.Remove(members(t, d)) }},
		{"members file replaced", func(t *testing.T, d string) error {
			path := members(t, d)
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		}},
		{"members file a directory", func(t *testing.T, d string) error {
			path := members(t, d)
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}},
	} {
		for _, sessions := range []string{"dead", "alive"} {
			t.Run(c.name+"/sessions "+sessions, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				sup, _ := e.supervise()
				a := e.session()
				e.create(a, 4096, 20)
				id, lives := instancetest.ID(t, e.dir), instancetest.Lives(t, e.dir)
				sup.Kill()
				if err := c.damage(t, e.dir); err != nil {
					t.Fatal(err)
				}
				if sessions == "dead" {
					a.Kill()
				}
				s, err := supervisor.Start(ctx, dsm.Config{Dir: e.dir, Settings: config("", nil).Settings,
					Logger: instancetest.Logger(t)})
				if err != nil {
					t.Fatal(err)
				}
				st, err := s.Status(ctx)
				if err != nil || st.Instance != id {
					t.Errorf("instance %v, %v; it was %v", st.Instance, err, id)
				}
				if sessions == "alive" && st.Generation != 1 { // fenced: it keeps its bytes and can do no harm
					check(a)
					a.Send("done")
					a.Expect("error the instance has stopped or begun a new generation")
				}
				if left := objectlist.Objects(lives); sessions == "dead" && len(left) > 0 {
					t.Errorf("objects of the old life are left: %v", left)
				}
				b := e.open()
				if _, err := b.Create(ctx, b.Owner(), 100); err != nil {
					t.Error(err)
				}
				if sessions == "alive" {
					a.Send("close")
					a.Expect("closed")
				}
				noErr(t, b.Close())
				noErr(t, s.Stop())
				if left := objectlist.Objects(append(lives, instancetest.Lives(t, e.dir)...)); len(left) != 0 {
					t.Errorf("after the stop: %v", left)
				}
			})
		}
	}
}

// members is the path of the only members file.
func members(t *testing.T, dir string) string {
	m, _ := filepath.Glob(filepath.Join(dir, "members.*"))
	if len(m) != 1 {
		t.Fatalf("members files: %v", m)
	}
	return m[0]
}

func idPrefix(t *testing.T, dir string) string {
	return dsmimpl.LifeText(instancetest.Life(t, dir))
}

func overwrite(path string, with byte) error { return overwriteFrom(path, 0, with) }

func overwriteFrom(path string, from int64, with byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, info.Size()-from)
	for i := range b {
		b[i] = with
	}
	_, err = f.WriteAt(b, from)
	return err
}

// TestCopiedDirectory: a start on a copy of a live instance's directory changes nothing of the original.
func TestCopiedDirectory(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		e.supervise("dynamic_shared_memory_type", backend)
		a := e.session()
		e.create(a, 100, 10)
		dup := env{t, instancetest.TempDir(t) + "/copy"}
		if err := os.CopyFS(dup.dir, os.DirFS(e.dir)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(filepath.Dir(dup.dir)) })
		p := proctest.Start(t, "supervise", dup.dir, "dynamic_shared_memory_type", backend)
		p.Expect("ready ")
		life := instancetest.Life(t, dup.dir)
		if instancetest.ID(t, e.dir) == instancetest.ID(t, dup.dir) {
			t.Error("the copy has the original's id")
		}
		if n := e.objects(); n != 10 {
			t.Errorf("%d of the original's 10 objects are left", n)
		}
		if files, _ := os.ReadDir(filepath.Join(dup.dir, "mmap")); backend == "mmap" && len(files) != 1 {
			t.Errorf("the copy has %d files, want only its control segment", len(files))
		}
		check(a)
		e.create(a, 100, 1)
		if r := e.report(); len(r.Segments) != 11 || len(r.Sessions) != 1 {
			t.Errorf("%+v", r.Status)
		}
		noErr(t, p.Close())
		if left := objectlist.Objects([]uuid.UUID{life}, filepath.Join(dup.dir, "mmap")); len(left) > 0 {
			t.Errorf("left of the copy: %v", left)
		}
		check(a)
	})
}

// TestControlSegmentIsRemoved, as systemd's RemoveIPC does: no process could join any more, so the next generation
// begins.
func TestControlSegmentIsRemoved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the control segment is a file on Linux alone")
	}
	e := newEnv(t)
	sup, _ := e.supervise()
	a := e.session()
	e.create(a, 100, 5)
	for _, path := range objectlist.Objects(instancetest.Lives(t, e.dir)) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	a.Send("done")
	a.Expect("error the instance has stopped or begun a new generation")
	e.session().Kill()
	noErr(t, sup.Close())
}
