package quiet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fake is a /proc whose clocks go on when a test sleeps: others use the shares of a CPU in
// others, second by second, and process 100 and its child 101 use a whole one.
type fake struct {
	t          *testing.T
	dir        string
	now        time.Time
	busy, ours int // ticks
	others     []float64
	died       int
}

func newFake(t *testing.T, others ...float64) (*fake, Watch) {
	f := &fake{t: t, dir: t.TempDir(), now: time.Unix(1000, 0), others: others}
	f.write()
	return f, Watch{Proc: f.dir, Root: 100, Sleep: f.sleep, Now: func() time.Time { return f.now }}
}

func (f *fake) write() {
	file := func(name, content string) {
		path := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	file("stat", fmt.Sprintf("cpu  %d 0 0 999999 5 0 0 0 0 0\ncpu0 1 2 3\n", f.busy))
	proc := func(pid, ppid, own, reaped int) {
		file(fmt.Sprintf("%d/stat", pid), fmt.Sprintf("%d (a (b) c) S %d 0 0 0 0 0 0 0 0 0 %d 0 %d 0 20 0 1 0 5\n",
			pid, ppid, own, reaped))
	}
	proc(1, 0, 5000, 0)
	proc(100, 1, 7, f.died)
	proc(101, 100, f.ours, 0)
	proc(200, 1, 77, 0)
	file("self/stat", "not a number, not a process")
}

func (f *fake) sleep(ctx context.Context, d time.Duration) error {
	f.now = f.now.Add(d)
	share := 0.0
	if len(f.others) > 0 {
		share, f.others = f.others[0], f.others[1:]
	}
	f.ours += int(d.Seconds() * ticks)
	f.busy += int(d.Seconds()*ticks) + int(share*d.Seconds()*ticks)
	f.write()
	return context.Cause(ctx)
}

func TestOthers(t *testing.T) {
	f, w := newFake(t, 0.5)
	a, err := w.Read()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.sleep(t.Context(), time.Second)
	b, err := w.Read()
	if err != nil {
		t.Fatal(err)
	}
	if got := Others(a, b); got < 0.49 || got > 0.51 {
		t.Errorf("others used %v of a CPU, want 0.5", got)
	}
	// A child that ended and was waited for is ours still.
	f.ours, f.died = 0, f.ours
	f.write()
	if c, err := w.Read(); err != nil || c.Ours != b.Ours {
		t.Errorf("ours is %v and was %v (%v)", c.Ours, b.Ours, err)
	}
}

func TestWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		others []float64
		limit  time.Duration
		waited time.Duration
		quiet  bool
	}{
		{"quiet at once", nil, time.Minute, time.Second, true},
		{"quiet in the third second", []float64{1, 0.3, 0.05}, time.Minute, 3 * time.Second, true},
		{"never quiet", []float64{1, 1, 1, 1, 1, 1, 1, 1}, 5 * time.Second, 5 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, w := newFake(t, c.others...)
			waited, isQuiet, err := w.Wait(t.Context(), c.limit)
			if err != nil || waited != c.waited || isQuiet != c.quiet {
				t.Errorf("waited %v, quiet %v, %v; want %v, %v", waited, isQuiet, err, c.waited, c.quiet)
			}
		})
	}
}

func TestWaitEnds(t *testing.T) {
	_, w := newFake(t, 1, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Wait(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's end", err)
	}
}

func TestStrangeFile(t *testing.T) {
	f, w := newFake(t)
	if err := os.WriteFile(filepath.Join(f.dir, "stat"), []byte("intr 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(); err == nil {
		t.Error("a file without processor times is read")
	}
}

func TestThisMachine(t *testing.T) {
	var w Watch
	a, err := w.Read()
	if err != nil || a.Busy == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}
