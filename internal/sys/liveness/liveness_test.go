package liveness_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func TestMain(m *testing.M) {
	proctest.Register("holder", func(c *proctest.Child) error {
		r, err := liveness.Open(c.Args[0])
		if err != nil {
			return err
		}
		row, _ := strconv.Atoi(c.Args[1])
		if ok, err := r.Take(row); !ok || err != nil {
			return errors.Join(errors.New("not to be had"), err)
		}
		c.Say("held")
		c.Hear()
		return nil
	})
	proctest.Main(m)
}

func roll(t *testing.T) (string, *liveness.Roll) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "members")
	if err := liveness.Create(path); err != nil {
		t.Fatal(err)
	}
	r, err := liveness.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return path, r
}

func TestTakeAndDrop(t *testing.T) {
	path, a := roll(t)
	b, err := liveness.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Prove(5); err != nil {
		t.Fatal(err)
	}
	if a.Identity() != b.Identity() || a.Identity() == (liveness.Identity{}) {
		t.Errorf("identities %v and %v", a.Identity(), b.Identity())
	}
	if ok, err := a.Take(3); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := b.Take(3); ok || err != nil {
		t.Errorf("taken twice: %v, %v", ok, err)
	}
	for _, r := range []*liveness.Roll{a, b} { // one's own is seen too
		if !r.Held(3) || r.Held(2) || r.Held(4) {
			t.Error("Held sees the wrong rows")
		}
	}
	if ok, err := b.Take(4); !ok || err != nil {
		t.Error(ok, err)
	}
	if err := a.Drop(3); err != nil || b.Held(3) {
		t.Error("still held after Drop", err)
	}
	b.Close()
	if a.Held(4) {
		t.Error("still held after Close")
	}
	b.Close() // twice is harmless
	if err := liveness.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of an existing file = %v", err)
	}
	if _, err := liveness.Open(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a missing file = %v", err)
	}
	if _, err := liveness.Open(filepath.Dir(path)); err == nil {
		t.Error("a directory was opened")
	}
}

func TestCount(t *testing.T) {
	path, a := roll(t)
	b, err := liveness.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, row := range []int{7, 8, 3, 0, 2, 30, 31, 12, 9} { // by turns, so that the kernel's order is not the rows'
		if ok, err := []*liveness.Roll{a, b}[i%2].Take(row); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for n, want := range map[int]int{0: 0, 1: 1, 3: 2, 8: 4, 9: 5, 31: 8, 32: 9, 4000: 9} {
		if got, err := a.Count(n); got != want || err != nil {
			t.Errorf("%d below %d are held, not %d; %v", got, n, want, err)
		}
	}
}

func TestTheLivingAndTheDead(t *testing.T) {
	path, r := roll(t)
	gone := make(chan int, 3)
	start := func(row int) *proctest.Process {
		p := proctest.Start(t, "holder", path, strconv.Itoa(row))
		p.Expect("held")
		_, err := liveness.Watch(p.Pid, func() { gone <- row })
		if errors.Is(err, errors.ErrUnsupported) {
			gone <- row // nothing tells here
		} else if err != nil {
			t.Fatal(err)
		}
		return p
	}
	zombie, stopped, orderly := start(1), start(2), start(3)
	if err := stopped.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := zombie.Cmd.Process.Kill(); err != nil { // and not reaped
		t.Fatal(err)
	}
	if row := <-gone; row != 1 {
		t.Errorf("news of row %d", row)
	}
	for r.Held(1) { // free soon, though no process reaps
	}
	if !r.Held(2) || !r.Held(3) {
		t.Error("a living process reads as dead")
	}
	if err := orderly.Close(); err != nil {
		t.Error(err)
	}
	if row := <-gone; row != 3 {
		t.Errorf("news of row %d", row)
	}
	for r.Held(3) {
	}
	if runtime.GOOS == "linux" {
		for !liveness.Stopped(stopped.Pid) {
		}
		if liveness.Stopped(os.Getpid()) {
			t.Error("this process is stopped")
		}
	}
	if !r.Held(2) {
		t.Error("a stopped process reads as dead")
	}
	stopped.Kill()
	if r.Held(2) {
		t.Error("a reaped process reads as alive")
	}
}

func TestWatchCanBeStopped(t *testing.T) {
	path, _ := roll(t)
	p := proctest.Start(t, "holder", path, "1")
	p.Expect("held")
	stop, err := liveness.Watch(p.Pid, func() { t.Error("news after stop") })
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("skipped: nothing to stop on this system")
	}
	if err != nil {
		t.Fatal(err)
	}
	stop()
	p.Kill()
}
