//go:build unix

package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
)

func init() { proctest.Register("waiter", waiter) }

// waiter waits for a lock, and says when it has it: DIR PATH...
func waiter(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0], Application: "waiter"})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	if err != nil {
		return err
	}
	h, err := x.Lock(ctx, locktable.Exclusive, p.Args[1:]...)
	if err != nil {
		return err
	}
	p.Say("in")
	p.Hear()
	return h.Unlock()
}

// TestStoppedWaiterIsPassedOver: one that is stopped while it waits holds no other up, and has its turn when it goes on.
func TestStoppedWaiterIsPassedOver(t *testing.T) {
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	must(t, err)
	h := lock(t, x, ctx, locktable.Exclusive, "a")
	v := proctest.Start(t, "waiter", cfg.Dir, "a")
	for len(collect(x.Waiters("a"))) < 1 {
		time.Sleep(time.Millisecond)
	}
	must(t, v.Stop())
	next := begin(t, x, 2, func() error {
		h, err := x.Lock(ctx, locktable.Exclusive, "a")
		if err == nil {
			err = h.Unlock()
		}
		return err
	}, "a")
	began := time.Now()
	must(t, h.Unlock())
	must(t, <-next)
	t.Logf("past a stopped waiter after %v", time.Since(began))
	list := collect(x.Waiters("a"))
	if len(list) != 1 || list[0].Pid != v.Cmd.Process.Pid {
		t.Errorf("%+v", list)
	}
	must(t, v.Cmd.Process.Signal(syscall.SIGCONT))
	v.Expect("in")
	must(t, v.CloseInput())
	must(t, lock(t, x, ctx, locktable.Exclusive, "a").Unlock())
}

// TestStoppedHolder: the context ends a wait for a holder that is stopped, which is named; TryLock says so at once.
func TestStoppedHolder(t *testing.T) {
	cfg := instancetest.Config(t, "mmap")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	must(t, err)
	v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "a")
	v.Expect("in")
	must(t, v.Stop())
	state := dsm.SessionRunning // where the system does not tell more
	if runtime.GOOS == "linux" {
		state = dsm.SessionStopped
		instancetest.Eventually(t, "the holder is stopped", func() bool {
			list, err := s.Sessions(ctx)
			return err == nil && slices.ContainsFunc(list, func(i dsm.SessionInfo) bool {
				return i.Pid == v.Cmd.Process.Pid && i.State == state
			})
		})
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = x.Lock(short, locktable.Exclusive, "a")
	e, ok := errors.AsType[*locktable.WaitError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || len(e.Holders) != 1 || e.Holders[0].Pid != v.Cmd.Process.Pid {
		t.Fatal(err)
	}
	says := regexp.MustCompile(fmt.Sprintf(`; session \d+/\d+ \(process %d, holder, %s\) ".*" holds it exclusive for `, v.Cmd.Process.Pid, state))
	if !says.MatchString(err.Error()) {
		t.Errorf("%v does not match %v", err, says)
	}
	for name, way := range map[string]func(context.Context) error{
		"Lock": func(c context.Context) error { _, err := x.Lock(c, locktable.Shared, "a"); return err },
		"LockMany": func(c context.Context) error {
			_, err := x.LockMany(c, locktable.Want{Mode: locktable.Exclusive, Path: []string{"a"}})
			return err
		},
	} {
		c, cancel := context.WithCancelCause(ctx)
		done := begin(t, x, 1, func() error { return way(c) }, "a")
		cause := errors.New("the user has gone")
		cancel(cause)
		if err := <-done; !errors.Is(err, cause) || !says.MatchString(err.Error()) {
			t.Errorf("%s: %v does not match %v", name, err, says)
		}
		for len(collect(x.Waiters("a"))) > 0 { // what a wait that ends leaves is cleared soon after
			time.Sleep(time.Millisecond)
		}
	}
	if _, err := x.TryLock(ctx, locktable.Exclusive, "a"); !errors.Is(err, locktable.ErrHeld) {
		t.Error(err)
	}
	v.Kill()
	h := lock(t, x, ctx, locktable.Exclusive, "a")
	if d, ok := h.Recovered(); !ok || d.Pid != v.Cmd.Process.Pid {
		t.Error(fmt.Sprint(d, ok))
	}
	must(t, h.Unlock())
}

// TestZombieHolder: a holder that was killed, and that its parent has not waited for, is dead.
func TestZombieHolder(t *testing.T) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	must(t, err)
	v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "a")
	v.Expect("in")
	must(t, syscall.Kill(v.Cmd.Process.Pid, syscall.SIGKILL))
	began := time.Now()
	h := lock(t, x, ctx, locktable.Exclusive, "a")
	t.Logf("in after %v", time.Since(began))
	if d, ok := h.Recovered(); !ok || d.Pid != v.Cmd.Process.Pid {
		t.Error(fmt.Sprint(d, ok))
	}
	must(t, h.Unlock())
}
