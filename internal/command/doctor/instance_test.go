//go:build linux

package doctor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/google/uuid"
)

var ctx = context.Background()

func look(t *testing.T, cfg dsm.Config) ([]doctor.Finding, []uuid.UUID) {
	t.Helper()
	return doctor.Here().Instance(ctx, cfg)
}

func wantFinding(t *testing.T, list []doctor.Finding, check string, status doctor.Status, says ...string) {
	t.Helper()
	i := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Check == check })
	if i < 0 {
		t.Errorf("no finding %s in %+v", check, list)
		return
	}
	f := list[i]
	for _, s := range says {
		if !strings.Contains(f.Found+"|"+f.Means+"|"+f.Cure, s) {
			t.Errorf("%+v does not say %q", f, s)
		}
	}
	if f.Status != status {
		t.Errorf("%+v, want %s", f, status)
	}
}

func TestDirectory(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	file := filepath.Join(instancetest.TempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(instancetest.TempDir(t), "missing")
	open := instancetest.TempDir(t)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]struct {
		status doctor.Status
		says   string
	}{
		missing:                 {doctor.OK, "does not exist yet"},
		file:                    {doctor.Bites, "not a directory"},
		open:                    {doctor.Bites, "chmod go-w " + open},
		instancetest.TempDir(t): {doctor.OK, "mode 0700"},
	} {
		list, _ := look(t, dsm.Config{Dir: dir})
		wantFinding(t, list, "directory", want.status, want.says)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("a look has made the directory")
	}
	if instancetest.OtherUsers() {
		theirs := instancetest.TempDir(t)
		if err := os.Chown(theirs, instancetest.Stranger, instancetest.Stranger); err != nil {
			t.Fatal(err)
		}
		list, _ := look(t, dsm.Config{Dir: theirs})
		wantFinding(t, list, "directory", doctor.Bites, "run as the owner")
	}
}

func TestDirectoryFiles(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	for what, plant := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"FIFO":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, name := range []string{"id", "instance", "members.3", "supervisor", "dsm.conf", "mmap"} {
			dir := instancetest.TempDir(t)
			path := filepath.Join(dir, name)
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			list, _ := look(t, dsm.Config{Dir: dir})
			if name == "mmap" && what == "directory" {
				wantFinding(t, list, "directory_files", doctor.OK)
				continue
			}
			wantFinding(t, list, "directory_files", doctor.Bites, path+" is a "+what, "rm -r "+path)
		}
	}
}

func TestRowsRunOut(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	cfg := instancetest.Config(t, "posix", "max_segments", "20")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for range 18 {
		if _, err := s.Create(ctx, s.Owner(), 100); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := look(t, cfg)
	wantFinding(t, list, "segment_rows", doctor.OK, "18 of 20")
	if _, err := s.Create(ctx, s.Owner(), 100); err != nil {
		t.Fatal(err)
	}
	list, _ = look(t, cfg)
	wantFinding(t, list, "segment_rows", doctor.Bites, "19 of 20", "19 of them made by process "+strconv.Itoa(os.Getpid()),
		"ErrTooManySegments", "raise max_segments")
}

func TestLivingInstance(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", instancetest.TempDir(t))
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g, err := s.Create(ctx, s.Owner(), 100)
	if err != nil {
		t.Fatal(err)
	}
	list, known := look(t, cfg)
	if doctor.Worst(list) == doctor.Bites || !slices.Contains(known, instancetest.Life(t, cfg.Dir)) {
		t.Errorf("%+v, %v", list, known)
	}
	wantFinding(t, list, "instance", doctor.OK, "runs, with 1 sessions")
	wantFinding(t, list, "stuck_rows", doctor.OK, "none in 1 rows")
	wantFinding(t, list, "segment_rows", doctor.OK, "1 of ")

	// A row that can't be freed: a directory stands where its object was.
	segments, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	path := segments[0].OSName
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	if err := g.Detach(); err != nil {
		t.Fatal(err)
	}
	list, _ = look(t, cfg)
	wantFinding(t, list, "stuck_rows", doctor.Bites, path, "is a directory", "ls -ld "+path)
	_ = os.Remove(path)

	// A control segment that can't be seen, as from another mount namespace.
	st, err := s.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := filepath.Glob("/dev/shm/" + filepath.Base(path)[:16] + "0000000001zzz")
	if err != nil || len(mine) != 1 {
		t.Fatalf("control segment of %v: %v, %v", st.Instance, mine, err)
	}
	if err := os.Rename(mine[0], mine[0]+".hidden"); err != nil {
		t.Fatal(err)
	}
	list, _ = look(t, cfg)
	if err := os.Rename(mine[0]+".hidden", mine[0]); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, list, "instance", doctor.Bites, "has been removed")
	wantFinding(t, list, "leftovers", doctor.OK)
}
