// Package instancetest gives tests an instance of their own, and makes them fail if anything of it is left in the end.
package instancetest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/supervisor"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Each runs f once for each backend of this system.
func Each(t *testing.T, f func(t *testing.T, backend string)) {
	for _, b := range catalog.Native() {
		t.Run(b, func(t *testing.T) { f(t, b) })
	}
}

// Config returns the configuration of a new instance of that backend in a new directory. Settings are pairs of name and
// value. Tables are small, to go easy on the machine's shared memory.
func Config(t testing.TB, backend string, settings ...string) dsm.Config {
	t.Helper()
	set := map[string]string{"dynamic_shared_memory_type": backend, "max_processes": "20", "max_segments": "100",
		"shutdown_timeout": "1s"}
	for i := 0; i < len(settings); i += 2 {
		set[settings[i]] = settings[i+1]
	}
	return dsm.Config{Dir: TempDir(t), Settings: set, Logger: Logger(t)}
}

// TempDir does what t.TempDir does, with a short name, mode 0700, that tolerates what a killed process left.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dsm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// StateHome gives the test's processes a place of their own for default and private instances.
func StateHome(t *testing.T) string {
	t.Helper()
	dir := TempDir(t)
	for _, name := range []string{"XDG_STATE_HOME", "LOCALAPPDATA"} { // Unix and Windows
		t.Setenv(name, dir)
	}
	return dir
}

// Logger writes to the test's log.
func Logger(t testing.TB) zerolog.Logger {
	return zerolog.New(zerolog.ConsoleWriter{Out: zerolog.NewTestWriter(t), NoColor: true,
		PartsExclude: []string{"time"}})
}

// Start runs a supervisor in this process, stopped at the test's end; then nothing of the instance may be left.
func Start(t testing.TB, cfg dsm.Config) *supervisor.Supervisor {
	t.Helper()
	s, err := supervisor.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	NoneLeft(t, cfg.Dir)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s
}

// Open opens a session, closed at the test's end.
func Open(t testing.TB, cfg dsm.Config) *dsm.Session {
	t.Helper()
	s, err := dsm.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ID returns the instance's, as its directory says.
func ID(t testing.TB, dir string) uuid.UUID {
	t.Helper()
	var id struct{ Instance uuid.UUID }
	if err := atomicfile.Read(filepath.Join(dir, "id"), &id); err != nil {
		t.Fatal(err)
	}
	return id.Instance
}

// Lives returns the lives that the instance has had, as its directory says.
func Lives(t testing.TB, dir string) []uuid.UUID {
	t.Helper()
	list := objectlist.KnownLives(dir)
	if len(list) == 0 {
		t.Errorf("%s names no life", dir)
	}
	return list
}

// Life returns the present life, or the last.
func Life(t testing.TB, dir string) uuid.UUID {
	t.Helper()
	var record struct{ Life uuid.UUID }
	if err := atomicfile.Read(filepath.Join(dir, "instance"), &record); err != nil {
		t.Fatal(err)
	}
	return record.Life
}

// NoneLeft makes the test fail if an object of the instance in dir, which need not have been
// started yet, is left at its end. What is registered for cleanup afterwards comes before that.
func NoneLeft(t testing.TB, dir string) {
	t.Helper()
	proctest.Blame(t)
	t.Cleanup(func() {
		objects := func() []string { return objectlist.Objects(Lives(t, dir), filepath.Join(dir, "mmap")) }
		left := objects()
		if runtime.GOOS == "windows" { // there a view that has ended stays mapped until it is collected
			for end := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(end); left = objects() {
				runtime.GC()
				time.Sleep(time.Millisecond)
			}
		}
		if len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	})
}

// Objects counts the instance's objects in the system, the control segment and the reserved region not among them.
func Objects(t testing.TB, dir string) int {
	t.Helper()
	n := len(objectlist.Objects(Lives(t, dir), filepath.Join(dir, "mmap")))
	if n == 0 {
		return 0
	}
	var record struct{ Settings map[string]string }
	if atomicfile.Read(filepath.Join(dir, "instance"), &record) == nil &&
		record.Settings["min_dynamic_shared_memory"] != "0" {
		n--
	}
	return n - 1
}

// OnlyRoot waits until the instance has its root segment and no other, in the books and in the system.
func OnlyRoot(t testing.TB, cfg dsm.Config) {
	t.Helper()
	Eventually(t, "nothing but the root segment is left", func() bool {
		r, err := dsm.Inspect(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		objects := 1
		if len(r.Segments) == 1 && r.Segments[0].Reserved {
			objects = 0
		}
		return len(r.Segments) == 1 && Objects(t, cfg.Dir) == objects
	})
}

// Eventually waits for what another process does in its own time and that no process tells. A test that waits a minute
// has failed.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("it never came about that %s\n%s", what, strings.TrimSpace(string(buf[:runtime.Stack(buf, true)])))
		}
	}
}
