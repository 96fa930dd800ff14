package parallel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	parallel.Main()
	proctest.Register("leader", leaderHelper)
	proctest.Main(m)
}

// job names a segment of counters, one for each worker.
type job struct {
	Segment dsm.Handle
	Mode    string
}

var work = parallel.Register("work", func(ctx context.Context, w *parallel.Worker, j job) error {
	g, err := w.Session.Attach(ctx, w.Owner, j.Segment)
	if err != nil {
		return err
	}
	pids, err := shm.SliceOf[atomic.Int64](g.Region(), 0, 16)
	if err != nil {
		return err
	}
	pids[w.Index].Store(int64(os.Getpid()))
	pids[15].Add(int64(w.Count))
	mode, who, _ := strings.Cut(j.Mode, " ")
	if who != "" && who != strconv.Itoa(w.Index) {
		mode = "wait"
	}
	switch mode {
	case "fail":
		return fmt.Errorf("worker %d of %d is not happy", w.Index, w.Count)
	case "panic":
		panic("oh no")
	case "kill":
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	case "exit":
		os.Exit(7)
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "deaf":
		select {}
	case "stdin":
		if b, err := io.ReadAll(os.Stdin); len(b) > 0 || err != nil {
			return fmt.Errorf("stdin holds %q, %v", b, err)
		}
		if _, ok := os.LookupEnv("DSM_TICKET"); ok {
			return errors.New("the ticket is still in the environment")
		}
		fmt.Printf("stdout of worker %d\n", w.Index)
	}
	return nil
})

// stage is a session with a segment to work on.
func stage(t testing.TB, settings ...string) (cfg dsm.Config, s *dsm.Session, counters []atomic.Int64, h dsm.Handle) {
	t.Helper()
	cfg = instancetest.Config(t, catalog.Default(), settings...)
	instancetest.Start(t, cfg)
	s = instancetest.Open(t, cfg)
	g, err := s.Create(ctx, s.Owner(), 16*8)
	if err != nil {
		t.Fatal(err)
	}
	counters, err = shm.SliceOf[atomic.Int64](g.Region(), 0, 16)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, s, counters, g.Handle()
}

// wantAlone: all workers have left the instance, and nothing but the leader's segment is there.
func wantAlone(t *testing.T, s *dsm.Session) {
	t.Helper()
	instancetest.Eventually(t, "the leader is alone", func() bool {
		list, err := s.Sessions(ctx)
		segments, _ := s.Segments(ctx)
		return err == nil && len(list) == 1 && len(segments) == 1 && segments[0].Refs == 1
	})
}

func TestRun(t *testing.T) {
	_, s, counters, h := stage(t)
	if err := work.Run(ctx, s, 4, job{h, ""}); err != nil {
		t.Fatal(err)
	}
	var pids []int64
	for i := range 4 {
		pids = append(pids, counters[i].Load())
	}
	slices.Sort(pids)
	if len(slices.Compact(slices.Clone(pids))) != 4 || slices.Contains(pids, int64(os.Getpid())) || pids[0] == 0 {
		t.Errorf("workers ran as processes %v", pids)
	}
	if counters[15].Load() != 16 {
		t.Errorf("the counts add up to %d", counters[15].Load())
	}
	wantAlone(t, s)
}

func TestLeaderAlone(t *testing.T) {
	_, s, counters, h := stage(t, "max_processes", "1") // no row for a worker
	for _, n := range []int{0, 3} {
		counters[0].Store(0)
		counters[15].Store(0)
		if err := work.Run(ctx, s, n, job{h, ""}); err != nil {
			t.Fatal(err)
		}
		if counters[0].Load() != int64(os.Getpid()) || counters[15].Load() != 1 {
			t.Errorf("%d workers: ran in process %d with count %d, want the leader alone",
				n, counters[0].Load(), counters[15].Load())
		}
	}
	wantAlone(t, s)
	if err := work.Run(ctx, s, -1, job{h, ""}); err == nil {
		t.Error("-1 workers run")
	}
}

func TestFewerRowsThanWorkers(t *testing.T) {
	_, s, counters, h := stage(t, "max_processes", "3")
	if err := work.Run(ctx, s, 5, job{h, ""}); err != nil {
		t.Fatal(err)
	}
	if n := counters[15].Load(); n != 4 {
		t.Errorf("the counts add up to %d, want two workers of 2", n)
	}
	wantAlone(t, s)
}

func TestErrors(t *testing.T) {
	_, s, _, h := stage(t)
	for _, c := range []struct {
		mode   string
		worker int
		says   string
		signal os.Signal
	}{
		{"fail 1", 1, "worker 1 of 3 is not happy", nil},
		{"panic 2", 2, "panic: oh no\ngoroutine", nil},
		{"kill 0", 0, "was killed by signal 9 (killed)", syscall.SIGKILL},
		{"exit 1", 1, "ended without a word (exit status 7)", nil},
	} {
		if c.signal != nil && runtime.GOOS == "windows" { // it has no signals to tell of
			c.says, c.signal = "ended without a word (exit status 1)", nil
		}
		t.Run(c.mode, func(t *testing.T) {
			err := work.Run(ctx, s, 3, job{h, c.mode}) // the others wait for a cancellation
			e, ok := errors.AsType[*parallel.Error](err)
			if !ok || e.Worker != c.worker || !strings.Contains(e.Text, c.says) || e.Signal != c.signal {
				t.Errorf("error %v", err)
			}
			if n := strings.Count(err.Error(), "worker "); c.mode != "panic 2" && n > 2 {
				t.Errorf("the others' cancellations are reported as well: %v", err)
			}
			wantAlone(t, s)
		})
	}
	err := work.Run(ctx, s, 3, job{h, "fail"})
	for i := range 3 {
		if want := fmt.Sprintf("worker %d: ", i); err == nil || !strings.Contains(err.Error(), want) &&
			!strings.Contains(err.Error(), "worker") {
			t.Errorf("%v does not name a worker", err)
		}
	}
	if err := work.Run(ctx, s, 2, job{12345, ""}); !errors.Is(err, dsm.ErrNotFound) ||
		!strings.Contains(err.Error(), "no such segment") {
		t.Errorf("a handle that is none: %v", err)
	}
}

// TestCancelledBeforeItsWork: a worker that is told to stop before it has been given its work is not named in the error.
func TestCancelledBeforeItsWork(t *testing.T) {
	_, s, _, h := stage(t)
	for range 10 {
		err := work.Run(ctx, s, 4, job{h, "fail 3"})
		if err == nil || strings.Contains(err.Error(), "without a word") {
			t.Fatalf("error %v", err)
		}
		wantAlone(t, s)
	}
}

func TestCancel(t *testing.T) {
	_, s, counters, h := stage(t)
	for _, mode := range []string{"wait", "deaf"} {
		counters[15].Store(0)
		over, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- work.Run(over, s, 2, job{h, mode}) }()
		instancetest.Eventually(t, "both work", func() bool { return counters[15].Load() == 4 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", mode, err)
		}
		wantAlone(t, s)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := work.Run(over, s, 2, job{h, ""}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is over from the start: %v", err)
	}
	wantAlone(t, s)
}

func TestWorkersSurroundings(t *testing.T) {
	_, s, _, h := stage(t)
	if err := work.Run(ctx, s, 1, job{h, "stdin"}); err != nil {
		t.Error(err)
	}
}

// leaderHelper runs workers that wait for ever.
func leaderHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	h, err := dsm.ParseHandle(c.Args[1])
	if err != nil {
		return err
	}
	c.Say("running")
	return work.Run(ctx, s, 3, job{h, c.Args[2]})
}

func TestWorkersEndWithTheirLeader(t *testing.T) {
	cfg, s, counters, h := stage(t)
	for _, mode := range []string{"wait", "deaf"} {
		counters[15].Store(0)
		p := proctest.Start(t, "leader", cfg.Dir, h.String(), mode)
		p.Expect("running")
		instancetest.Eventually(t, "all work", func() bool { return counters[15].Load() == 9 })
		if err := p.Cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wantAlone(t, s)
		p.Kill()
	}
}

// TestTickets: what is no ticket, or another process's, is refused without harm.
func TestTickets(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, ticket := range []string{"", "nonsense", "{}", `{"version":1}`,
		`{"version":1,"dir":"/x","generation":1,"nonce":"n","orders":3,"reports":4}`,
		`{"version":1,"dir":"/x","generation":1,"nonce":"n","orders":1,"reports":2}`,
		`{"version":1,"dir":"/x","generation":1,"nonce":"n","orders":99999999999,"reports":2}`,
		`{"version":2,"dir":"/x","generation":1,"nonce":"n","orders":3,"reports":4}`} {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "DSM_TICKET="+ticket)
		out, err := cmd.CombinedOutput()
		if proctest.ExitCode(err) != 1 || !strings.Contains(string(out), "ticket") {
			t.Errorf("%q: %v, %s", ticket, err, out)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	cfg := instancetest.Config(b, catalog.Default())
	cfg.Logger = dsm.Config{}.Logger
	instancetest.Start(b, cfg)
	s := instancetest.Open(b, cfg)
	g, err := s.Create(ctx, s.Owner(), 16*8)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := work.Run(ctx, s, 2, job{g.Handle(), ""}); err != nil {
			b.Fatal(err)
		}
	}
}
