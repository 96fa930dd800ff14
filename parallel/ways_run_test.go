//go:build unix

package parallel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/parallel"
)

// TestAllWaysOutOfRun: what is in supervisor.Run's hands is gone however its function ends. If the process ends, that
// is true with workers, the last of which removes the instance, and else after the next Run.
func TestAllWaysOutOfRun(t *testing.T) {
	for _, place := range []string{"run", "run, workers"} {
		for way := range ways {
			t.Run(place+"/"+way, func(t *testing.T) {
				instancetest.StateHome(t)
				p := proctest.Start(t, "ways", place, way)
				life := uuid.MustParse(p.Expect("life "))
				dir := p.Expect("dir ")
				left := func() (found []string) {
					if list, err := os.ReadDir(dir); err == nil {
						found = append(found, fmt.Sprint(dir, list))
					}
					return append(found, objectlist.Objects([]uuid.UUID{life}, filepath.Join(dir, "mmap"))...)
				}
				switch way {
				case "exit", "kill":
					wantWay(t, p, place, way)
					if places[place].workers == 0 {
						again := proctest.Start(t, "ways", "run", "return")
						again.Expect("life ")
						again.Expect("dir ")
						wantWay(t, again, "run", "return")
					}
					defer func() { t.Log(left()) }()
					instancetest.Eventually(t, "nothing is left", func() bool { return left() == nil })
				default:
					quoted, _, _ := strings.Cut(p.Expect("result "), " closed=")
					result, _ := strconv.Unquote(quoted)
					want := map[string]string{"fail": "not happy", "panic": "the caller was given a panic: oh no",
						"nil panic": "the caller was given a panic: panic called with nil",
						"goexit":    "the caller's goroutine was ended"}[way]
					if want == "" {
						want = "<nil>"
					}
					if !strings.HasPrefix(result, want) {
						t.Errorf("the result is %s, want %s", result, want)
					}
					if found := left(); found != nil {
						t.Errorf("left behind: %v", found)
					}
					p.Expect("clean")
					if err := p.Wait(); err != nil {
						t.Errorf("%v; it wrote: %s", err, p.Stderr())
					}
				}
			})
		}
	}
}

var closer = parallel.Register("closer", func(ctx context.Context, w *parallel.Worker, round int) error {
	closed, sent := make(chan error, 1), make(chan struct{}, 1)
	var busy sync.WaitGroup
	for range 2 { // while one waits for room, the other waits for that one
		busy.Go(func() {
			for n := 0; ; n++ {
				err := w.Send(context.Background(), make([]byte, 100_000))
				select {
				case sent <- struct{}{}:
				default:
				}
				w.Progress(int64(n), -1)
				w.Log.Info().Msg("one more")
				if err != nil {
					if !errors.Is(err, dsm.ErrClosed) {
						closed <- fmt.Errorf("Send = %w, want ErrClosed", err)
					}
					return
				}
			}
		})
	}
	for range round % 5 {
		<-sent
	}
	end := w.Session.Close
	if round%2 == 1 {
		end = w.Session.Owner().Abort
	}
	if err := end(); err != nil {
		return err
	}
	busy.Wait()
	select {
	case err := <-closed:
		return err
	default:
		return nil
	}
})

// TestWorkerClosesUnderSend: a worker closes its session, or ends its owner, while its goroutines send results, progress
// and log lines: they get ErrClosed, and the worker neither dies nor waits.
func TestWorkerClosesUnderSend(t *testing.T) {
	_, s, _, _ := stage(t)
	for round := range 20 {
		slow := parallel.Options{Workers: 2, Result: func(int, []byte) error { runtime.Gosched(); return nil }}
		if err := closer.RunWith(ctx, s, slow, round); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	wantAlone(t, s)
}
