package parallel_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/supervisor"
)

// TestDirectoryMovedUnderALeader: workers that are started afterwards don't find the instance, and don't join the one
// that has come in its place: the error says which directory, and why.
func TestDirectoryMovedUnderALeader(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: a directory that is in use can't be moved")
	}
	cfg := instancetest.Config(t, "posix")
	if runtime.GOOS != "linux" {
		cfg = instancetest.Config(t, "sysv")
	}
	there := instancetest.TempDir(t) + "/there"
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	run := func() error { return work.Run(ctx, s, 1, job{Mode: "count"}) }
	if err := os.Rename(cfg.Dir, there); err != nil {
		t.Fatal(err)
	}
	defer func() { // where its supervisor, and the oracle, look for it
		_ = os.RemoveAll(cfg.Dir)
		if err := os.Rename(there, cfg.Dir); err != nil {
			t.Error(err)
		}
	}()
	refused := func(says string) {
		t.Helper()
		err := run()
		if !errors.Is(err, dsm.ErrNoInstance) || !strings.Contains(err.Error(), cfg.Dir) ||
			!strings.Contains(err.Error(), "moved or removed") || !strings.Contains(err.Error(), says) {
			t.Errorf("Run = %v, want ErrNoInstance that says %q", err, says)
		}
	}
	refused("does not exist")
	other, err := supervisor.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	refused("another instance is in")
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
}
