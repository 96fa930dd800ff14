//go:build unix

package parallel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/supervisor"
)

// Tests of all ways out of all functions that package parallel and supervisor.Run call: what becomes of the run, and
// that nothing is left.

func init() { proctest.Register("ways", waysHelper) }

// places are where a function of the program is called, and how an error of each begins.
var places = map[string]struct {
	workers int
	says    string
}{
	"function":       {2, `: the function of task "ways"`},
	"function alone": {0, `worker 0: the function of task "ways"`},
	"map":            {2, `: the function of task "ways of map"`},
	"map alone":      {0, `worker 0: the function of task "ways of map"`},
	"result":         {2, ": Options.Result"},
	"result alone":   {0, "the result of worker 0: Options.Result"},
	"progress":       {2, ": Options.Progress"},
	"progress alone": {0, "the progress of worker 0: Options.Progress"},
	"log":            {2, ": the logger"},
	"run":            {0, ""},
	"run, workers":   {2, ""},
}

// ways are how a function ends, and what the error of its place says then; empty: there is none.
var ways = map[string]string{
	"return": "", "fail": "not happy", "panic": ": panic: oh no\n", "nil panic": ": panic: panic called with nil",
	"goexit": " called runtime.Goexit", "close": "", "owner": "", "session's owner": "",
	"exit": "(exit status 7)", "kill": "was killed by signal 9 (killed)",
}

func end(way string, s *dsm.Session, o *resowner.Owner) error {
	switch way {
	case "fail":
		return errors.New("not happy")
	case "panic":
		panic("oh no")
	case "nil panic":
		panic(nil)
	case "goexit":
		runtime.Goexit()
	case "close":
		return s.Close()
	case "owner":
		return o.Abort()
	case "session's owner":
		return s.Owner().Abort()
	case "exit":
		os.Exit(7)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// wayOut is a worker's argument.
type wayOut struct {
	Place, Way string
	Pids       dsm.Handle // of a segment of numbers
	Wait       bool       // for a cancellation, if it is not the function that ends so
}

func (o wayOut) take(ctx context.Context, w *parallel.Worker) error {
	g, err := w.Session.Attach(ctx, w.Owner, o.Pids)
	if err != nil {
		return err
	}
	pids, err := shm.SliceOf[atomic.Int64](g.Region(), 0, 16)
	if err != nil {
		return err
	}
	pids[w.Index].Store(int64(os.Getpid()))
	if strings.HasPrefix(o.Place, "function") || strings.HasPrefix(o.Place, "map") {
		if err := end(o.Way, w.Session, w.Owner); err != nil {
			return err
		}
		w.Progress(1, 2)
		w.Log.Info().Msg("still here")
		err := w.Send(ctx, []byte("a result"))
		if closed := w.Session.Err() != nil; closed != errors.Is(err, dsm.ErrClosed) && o.Way != "session's owner" {
			return fmt.Errorf("Send = %v, but the session is closed: %v", err, closed)
		}
		return nil
	}
	w.Progress(1, 2)
	w.Log.Info().Msg("a line")
	if err := w.Send(ctx, []byte("a result")); err != nil && w.Count > 1 && !o.Wait {
		return err
	}
	if o.Wait {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

var waysTask = parallel.Register("ways", func(ctx context.Context, w *parallel.Worker, o wayOut) error {
	return o.take(ctx, w)
})

var waysMap = parallel.Map("ways of map", func(ctx context.Context, w *parallel.Worker, o wayOut, _ int, _ []int64) error {
	return o.take(ctx, w)
})

type writerFunc func(b []byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// waysHelper is a leader. It says what it got, and that no goroutine and no child process is left.
func waysHelper(c *proctest.Child) error {
	place, way := c.Args[0], c.Args[1]
	var dir string
	var h dsm.Handle
	if len(c.Args) > 2 {
		var err error
		if h, err = dsm.ParseHandle(c.Args[3]); err != nil {
			return err
		}
		dir = c.Args[2]
	}
	leader := func(s *dsm.Session, logger *zerolog.Logger) error {
		did := false
		out := func(at string) (err error) {
			if strings.TrimSuffix(place, " alone") == at && !did {
				did = true
				return end(way, s, s.Owner())
			}
			return nil
		}
		*logger = zerolog.New(writerFunc(func(b []byte) {
			if strings.Contains(string(b), "a line") {
				_ = out("log")
			}
		}))
		survives := slices.Contains([]string{"return", "owner", "session's owner"}, way) ||
			way == "fail" && (strings.HasPrefix(place, "log") || strings.HasPrefix(place, "progress"))
		o := parallel.Options{
			Workers:  places[place].workers,
			Result:   func(int, []byte) error { return out("result") },
			Progress: func(int, int64, int64) { _ = out("progress") },
		}
		arg := wayOut{place, way, h, !survives}
		if strings.HasPrefix(place, "map") {
			return waysMap.RunWith(ctx, s, o, parallel.Slice{Segment: h, Len: 16}, arg)
		}
		return waysTask.RunWith(ctx, s, o, arg)
	}
	var result error
	over := make(chan struct{})
	go func() {
		result = errors.New("the caller's goroutine was ended")
		defer close(over)
		defer func() {
			if p := recover(); p != nil {
				result = fmt.Errorf("the caller was given a panic: %v", p)
			}
		}()
		if strings.HasPrefix(place, "run") {
			result = waysOfRun(c, place, way)
			return
		}
		var logger zerolog.Logger
		cfg := dsm.Config{Dir: dir, Logger: zerolog.New(writerFunc(func(b []byte) {
			_, _ = logger.With().Logger().Write(b)
		}))}
		s, err := dsm.Open(ctx, cfg)
		if err != nil {
			result = err
			return
		}
		result = leader(s, &logger)
		if err := s.Close(); err != nil {
			result = errors.Join(result, err)
		}
	}()
	<-over
	c.Say("result %q closed=%v", fmt.Sprint(result), errors.Is(result, dsm.ErrClosed))
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err != syscall.ECHILD {
		return fmt.Errorf("a child is left: process %d, %v", pid, err)
	}
	for end := time.Now().Add(time.Minute); len(goroutines()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("goroutines are left: %s", strings.Join(goroutines(), "\n\n"))
		}
	}
	c.Say("clean")
	return nil
}

// goroutines are the stacks of those that are the module's, but for the helper's own and the one of a process that
// waits on futexes for all, and ends a second after the last of them.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "github.com/godsm/godsm/") && !strings.Contains(stack, "/internal/testing/proctest.") &&
			!strings.Contains(stack, "/internal/sys/futex.(*sentry)") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// waysOfRun is a private instance whose function ends in that way, with workers that wait or without.
func waysOfRun(c *proctest.Child, place, way string) error {
	return supervisor.Run(ctx, dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		var g *dsm.Segment
		for range 3 {
			if g, err = s.Create(ctx, s.Owner(), 1000); err != nil {
				return err
			}
		}
		c.Say("life %s", objectlist.KnownLives(st.Dir)[0])
		c.Say("dir %s", st.Dir)
		n := places[place].workers
		if n > 0 {
			ready := make(chan int, n)
			working, stop := context.WithCancel(ctx)
			over := make(chan struct{})
			go func() {
				defer close(over)
				_ = waysTask.RunWith(working, s, parallel.Options{Workers: n, Result: func(worker int, _ []byte) error {
					ready <- worker
					return nil
				}}, wayOut{Place: place, Pids: g.Handle(), Wait: true})
			}()
			for range n {
				<-ready
			}
			defer func() { stop(); <-over }()
		}
		return end(way, s, s.Owner())
	})
}

func TestAllWaysOut(t *testing.T) {
	for place := range places {
		if strings.HasPrefix(place, "run") {
			continue
		}
		t.Run(place, func(t *testing.T) {
			cfg, s, pids, h := stage(t)
			for way := range ways {
				t.Run(way, func(t *testing.T) {
					for i := range pids {
						pids[i].Store(0)
					}
					p := proctest.Start(t, "ways", place, way, cfg.Dir, h.String())
					wantWay(t, p, place, way)
					for i := range places[place].workers {
						wantGone(t, int(pids[i].Load()), way == "exit" || way == "kill")
					}
					wantAlone(t, s)
				})
			}
		})
	}
}

// wantWay wants the result of a leader, or its end.
func wantWay(t *testing.T, p *proctest.Process, place, way string) {
	t.Helper()
	inWorker := places[place].workers > 0 && (place == "function" || place == "map")
	if (way == "exit" || way == "kill") && !inWorker { // the leader itself
		if l, ok := p.Line(); ok {
			t.Errorf("it says %q", l)
		}
		if code := proctest.ExitCode(p.Wait()); code != map[string]int{"exit": 7, "kill": -1}[way] {
			t.Errorf("it ended with status %d; it wrote: %s", code, p.Stderr())
		}
		return
	}
	quoted, closed, _ := strings.Cut(p.Expect("result "), " closed=")
	result, err := strconv.Unquote(quoted)
	if err != nil {
		t.Fatal(err)
	}
	want := ways[way]
	switch {
	case way == "close" && !strings.HasPrefix(place, "function") && !strings.HasPrefix(place, "map"):
		if closed != "true" || !strings.Contains(result, "the leader's session has ended") {
			t.Errorf("the leader's session was closed: %s", result)
		}
	case strings.HasPrefix(place, "map") && slices.Contains([]string{"close", "owner", "session's owner"}, way):
		if closed != "true" || !strings.Contains(result, "has closed its session, or ended its owner") {
			t.Errorf("a worker that leaves in the middle of a slice: %s", result)
		}
	case strings.HasSuffix(way, "owner") && closed == "true": // if that came before all was made
	case want == "", way == "fail" && (strings.HasPrefix(place, "log") || strings.HasPrefix(place, "progress")):
		if result != "<nil>" {
			t.Errorf("the run failed: %s", result)
		}
	case !strings.Contains(result, want) || !inWorker && way != "fail" && !strings.Contains(result, places[place].says):
		t.Errorf("the error is %s, want it to say %q and %q", result, places[place].says, want)
	}
	if strings.Contains(result, "cancelled") {
		t.Errorf("the error tells of a cancellation by the run itself: %s", result)
	}
	p.Expect("clean")
	if err := p.Wait(); err != nil {
		t.Errorf("%v; it wrote: %s", err, p.Stderr())
	}
}

// wantGone waits until a worker is no more. One whose leader is dead is left to the system, which may take its time
// with a process that has ended; of others no zombie may stay.
func wantGone(t *testing.T, pid int, orphan bool) {
	t.Helper()
	if pid == 0 {
		return
	}
	instancetest.Eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return syscall.Kill(pid, 0) == syscall.ESRCH || orphan && strings.Contains(string(stat), ") Z ")
	})
}
