//go:build unix

package parallel_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/parallel"
)

// forgets makes TestMain one that does not call parallel.Main.
const forgets = "PARALLEL_TEST_FORGETS"

func init() {
	if os.Getenv(forgets) != "" && os.Getenv("DSM_TICKET") != "" {
		select {} // the program's main, which is at work on something else
	}
}

// TestHello: the leader finds out that its program does not call Main, and says so.
func TestHello(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	t.Setenv(forgets, "yes")
	err := work.RunWith(ctx, s, parallel.Options{Workers: 2, Hello: 100 * time.Millisecond}, job{})
	for _, want := range []string{"worker 0: process ", "worker 1: process ", "had not called parallel.Main 100ms after it was started",
		"call parallel.Main at the top of main"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	for _, o := range []parallel.Options{{Hello: -1}, {Grace: -1}} {
		if err := work.RunWith(ctx, s, o, job{}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

var group = parallel.Register("group", func(ctx context.Context, w *parallel.Worker, deaf bool) error {
	if err := w.Send(ctx, strconv.AppendInt(nil, int64(syscall.Getpgrp()), 10)); err != nil {
		return err
	}
	if deaf {
		select {}
	}
	return nil
})

// TestGroup: each worker is in a process group of its own, so that a terminal's signals do not reach it.
func TestGroup(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	groups := map[string]bool{strconv.Itoa(syscall.Getpgrp()): true}
	err := group.RunWith(ctx, s, parallel.Options{Workers: 3, Result: func(_ int, b []byte) error {
		groups[string(b)] = true
		return nil
	}}, false)
	if err != nil || len(groups) != 4 {
		t.Errorf("%v, groups %v", err, groups)
	}
}

// TestGrace: workers that do not end after they were cancelled are killed when the grace is over, and the error says
// why.
func TestGrace(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	ctx, cancel := context.WithCancel(ctx)
	err := group.RunWith(ctx, s, parallel.Options{Workers: 1, Grace: 50 * time.Millisecond,
		Result: func(int, []byte) error { cancel(); return nil }}, true)
	if err == nil || !strings.Contains(err.Error(), "did not end within 50ms after it was cancelled, so it was killed") {
		t.Error(err)
	}
}
