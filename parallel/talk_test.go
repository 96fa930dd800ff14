//go:build unix

package parallel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/rs/zerolog"
)

// Tests of what comes back from workers: results, progress, log lines, long errors; and of workers that are replaced.

type talk struct {
	Mode string
	N    int
	Once dsm.Handle // a word that the first attempt sets
}

var talker = parallel.Register("talker", func(ctx context.Context, w *parallel.Worker, a talk) error {
	switch a.Mode {
	case "results": // of all sizes, longer than the ring too
		for i := range a.N {
			if err := w.Send(ctx, bytes.Repeat([]byte{byte(w.Index), byte(i)}, i*i)); err != nil {
				return err
			}
			w.Progress(int64(i+1), int64(a.N))
		}
	case "log":
		w.Log.Info().Int("n", a.N).Str("text", "a\nb").Msg("from a worker")
		w.Log.Debug().Msg("not at this level")
		_, err := w.Session.Owner().Child("a child that is not ended")
		return err
	case "long error":
		return errors.New(strings.Repeat("x", a.N) + "the end")
	case "die once", "die":
		if w.Index == 1 && (a.Mode == "die" || w.Attempt == 0) {
			if err := w.Send(ctx, []byte("last words")); err != nil {
				return err
			}
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return err
			}
			_ = self.Kill()
			select {}
		}
		return w.Send(ctx, fmt.Appendf(nil, "%d of %d, attempt %d", w.Index, w.Count, w.Attempt))
	case "deaf leader":
		for {
			if err := w.Send(ctx, make([]byte, 50_000)); err != nil {
				return nil // the leader wants no more
			}
		}
	}
	return nil
})

// TestClosedUnderRun: a session that is closed while its workers run is an error of Run at most, no fault.
func TestClosedUnderRun(t *testing.T) {
	for _, region := range []string{"0", "1MB"} {
		_, s, _, _ := stage(t, "min_dynamic_shared_memory", region)
		closing := make(chan error, 1)
		var once sync.Once
		o := parallel.Options{Workers: 2, Result: func(int, []byte) error {
			once.Do(func() { closing <- s.Close() })
			return nil
		}}
		err := talker.RunWith(ctx, s, o, talk{Mode: "results", N: 200})
		t.Log(err)
		if err := <-closing; err != nil {
			t.Error(err)
		}
	}
}

func TestResultsAndProgress(t *testing.T) {
	_, s, _, _ := stage(t)
	for _, workers := range []int{0, 3} {
		const n = 400 // the last is 320 kB
		got := map[int]int{}
		last := map[int]int64{}
		o := parallel.Options{
			Workers: workers,
			Result: func(worker int, b []byte) error {
				i := got[worker]
				got[worker]++
				if want := bytes.Repeat([]byte{byte(worker), byte(i)}, i*i); !bytes.Equal(b, want) {
					return fmt.Errorf("result %d: %d bytes, want %d", i, len(b), len(want))
				}
				return nil
			},
			Progress: func(worker int, done, total int64) {
				if done <= last[worker] || total != n {
					t.Errorf("worker %d: %d of %d after %d", worker, done, total, last[worker])
				}
				last[worker] = done
			},
		}
		if err := talker.RunWith(ctx, s, o, talk{Mode: "results", N: n}); err != nil {
			t.Fatal(err)
		}
		for i := range max(1, workers) {
			if got[i] != n || last[i] == 0 {
				t.Errorf("%d workers: worker %d sent %d results, and progress to %d", workers, i, got[i], last[i])
			}
		}
		wantAlone(t, s)
	}
}

func TestResultRefused(t *testing.T) {
	_, s, _, _ := stage(t)
	enough := errors.New("enough")
	o := parallel.Options{Workers: 2, Result: func(int, []byte) error { return enough }}
	if err := talker.RunWith(ctx, s, o, talk{Mode: "deaf leader"}); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	wantAlone(t, s)
}

// TestLog: a worker's lines come out of the leader's logger, under their level, with the worker's number.
func TestLog(t *testing.T) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	var out bytes.Buffer
	cfg.Logger = zerolog.New(&out).Level(zerolog.InfoLevel)
	s := instancetest.Open(t, cfg)
	if err := talker.Run(ctx, s, 2, talk{Mode: "log", N: 5}); err != nil {
		t.Fatal(err)
	}
	seen := map[any]bool{}
	for l := range strings.Lines(out.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if line["message"] == "from a worker" && line["level"] == "info" && line["n"] == 5.0 && line["text"] == "a\nb" {
			seen[line["worker"]] = true
		}
		if line["level"] == "debug" {
			t.Errorf("a line below the leader's level: %s", l)
		}
	}
	if !seen[0.0] || !seen[1.0] {
		t.Errorf("the leader's log:\n%s", out.String())
	}
}

func TestLongError(t *testing.T) {
	_, s, _, _ := stage(t)
	const n = 100 << 10
	err := talker.Run(ctx, s, 1, talk{Mode: "long error", N: n})
	e, ok := errors.AsType[*parallel.Error](err)
	if want := excerpt.Of(strings.Repeat("x", n)+"the end", excerpt.Text); !ok || e.Text != want {
		t.Errorf("an error of %d bytes came as one of %d", n, len(fmt.Sprint(err)))
	}
}

func TestRetries(t *testing.T) {
	_, s, _, _ := stage(t)
	var results []string
	o := parallel.Options{Workers: 3, Retries: 1, Result: func(_ int, b []byte) error {
		results = append(results, string(b))
		return nil
	}}
	if err := talker.RunWith(ctx, s, o, talk{Mode: "die once"}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(results)
	want := []string{"0 of 3, attempt 0", "1 of 3, attempt 1", "2 of 3, attempt 0", "last words"}
	if !slices.Equal(results, want) {
		t.Errorf("results %q", results)
	}
	o.Retries = 4
	err := talker.RunWith(ctx, s, o, talk{Mode: "die"})
	if e, ok := errors.AsType[*parallel.Error](err); !ok || e.Worker != 1 || e.Signal != syscall.SIGKILL {
		t.Errorf("a worker that always dies: %v", err)
	}
	wantAlone(t, s)
}

var square = parallel.Map("square", func(_ context.Context, w *parallel.Worker, plus int64, at int,
	piece []int64) error {
	for i := range piece {
		if piece[i] != int64(at+i) {
			return fmt.Errorf("value %d is %d", at+i, piece[i])
		}
		piece[i] = piece[i]*piece[i] + plus
	}
	return nil
})

func TestMap(t *testing.T) {
	_, s, _, _ := stage(t)
	for _, n := range []int{0, 1, 7, 100_000} {
		for _, workers := range []int{0, 1, 3} {
			g, err := s.Create(ctx, s.Owner(), 8*n+64)
			if err != nil {
				t.Fatal(err)
			}
			values, err := shm.SliceOf[int64](g.Region(), 64, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range values {
				values[i] = int64(i)
			}
			if err := square.Run(ctx, s, workers, parallel.Slice{Segment: g.Handle(), At: 64, Len: n}, 3); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				if v != int64(i)*int64(i)+3 {
					t.Fatalf("%d workers: value %d of %d is %d", workers, i, n, v)
				}
			}
			tooLong := parallel.Slice{Segment: g.Handle(), At: 64, Len: n + 1}
			if err := square.Run(ctx, s, workers, tooLong, 3); !errors.Is(err, shm.ErrCorrupt) && n > 0 {
				t.Errorf("a slice that reaches beyond its segment: %v", err)
			}
			_ = g.Detach()
		}
	}
	wantAlone(t, s)
}

var heavy = parallel.Map("heavy", func(_ context.Context, _ *parallel.Worker, rounds int, _ int, piece []uint64) error {
	for i, v := range piece {
		for range rounds {
			v ^= v << 13
			v ^= v >> 7
			v ^= v << 17
		}
		piece[i] = v
	}
	return nil
})

// BenchmarkMap: a million values with some work on each, by one worker and by two.
func BenchmarkMap(b *testing.B) {
	_, s, _, _ := stage(b)
	const n = 1_000_000
	g, err := s.Create(ctx, s.Owner(), 8*n)
	if err != nil {
		b.Fatal(err)
	}
	for i := range g.Size() {
		g.Bytes()[i] = byte(i*7 + 1)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("%d", workers), func(b *testing.B) {
			for b.Loop() {
				if err := heavy.Run(ctx, s, workers, parallel.Slice{Segment: g.Handle(), Len: n}, 200); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
