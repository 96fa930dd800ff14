package pgx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/jackc/pgx/v5"
)

// doer is an engine or a queue between processes.
type doer interface {
	Do(ctx context.Context, c command) (result, error)
}

// TestDatabaseGoesAwayAndComesBack ends the server while callers write, and starts it again after a while, in one process and
// between two. Callers wait meanwhile; those whose contexts end are told that their commands were not executed, or, for a
// command that was under way, that they may have been. All others are answered when the server is back.
func TestDatabaseGoesAwayAndComesBack(t *testing.T) {
	for _, between := range []bool{false, true} {
		t.Run(fmt.Sprint("between processes=", between), func(t *testing.T) {
			p := newPlace(t)
			srv, _ := private()
			dir := t.TempDir()
			var d doer
			var finish func() error
			trouble := func() bool { return true }
			var other *proctest.Process
			if between {
				cfg := instancetest.Config(t, "posix")
				instancetest.Start(t, cfg)
				other = proctest.Start(t, "member", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"], dir+"/1", "1000000")
				q, err := join(instancetest.Open(t, cfg), p.config)
				if err != nil {
					t.Fatal(err)
				}
				d, finish = q, func() error { return q.Close(t.Context()) }
			} else {
				e := newEngine(t, p)
				d, finish = e, func() error { return e.Close(t.Context()) }
				trouble = func() bool { s := e.Stats(); return s.Trouble != nil && s.Since > 0 }
			}
			stop := make(chan struct{})
			var told atomic.Int64
			var mu sync.Mutex
			var ids []int
			var wg sync.WaitGroup
			for caller := range 8 {
				wg.Go(func() {
					for id := 1 + caller; ; id += 8 {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := d.Do(t.Context(), command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1}); err != nil {
							t.Errorf("command %d: %v", id, err)
							return
						}
						told.Add(1)
						mu.Lock()
						ids = append(ids, id)
						mu.Unlock()
					}
				})
			}
			more := func() {
				for before := told.Load(); told.Load() < before+50 && !t.Failed(); {
					time.Sleep(time.Millisecond)
				}
			}
			more()
			srv.stop()
			away := time.Now()
			impatient, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			for i := range 8 {
				wg.Go(func() {
					id := 500000 + i
					_, err := d.Do(impatient, command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1})
					if !errors.Is(err, context.DeadlineExceeded) || batch.ExecutedOf(err) == batch.Yes {
						t.Errorf("a caller without time: %v", err)
					}
				})
			}
			for !trouble() || time.Since(away) < 3*time.Second { // longer than a leader waits
				time.Sleep(10 * time.Millisecond)
			}
			if err := srv.run(); err != nil {
				t.Fatal(err)
			}
			var err error
			if p.admin, err = pgx.ConnectConfig(t.Context(), p.config.Copy()); err != nil {
				t.Fatal(err)
			}
			more()
			close(stop)
			wg.Wait()
			if err := finish(); err != nil {
				t.Error(err)
			}
			if between {
				other.Kill()
				b, _ := os.ReadFile(dir + "/1")
				for l := range strings.Lines(string(b)) {
					if id, err := strconv.Atoi(strings.TrimSuffix(l, "\n")); err == nil {
						ids = append(ids, id)
					}
				}
			}
			once(t, p, len(ids), ids)
		})
	}
}
