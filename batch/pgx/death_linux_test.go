//go:build failpoint

package pgx_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() {
	proctest.Register("doomed", func(c *proctest.Child) error {
		if err := failpoint.Arm(c.Args[5]); err != nil {
			return err
		}
		return member(c)
	})
}

// TestKilledInside kills a process that hands in and leads, over PostgreSQL, at each point of package batch/shared that it
// comes to, the first and the third time. Another process leads next: what was acknowledged is there once.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points("../shared")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	died := map[string]bool{}
	t.Run("at", func(t *testing.T) {
		for _, point := range points {
			for _, nth := range []int{1, 3} {
				t.Run(fmt.Sprint(point, "/", nth), func(t *testing.T) {
					if killedInside(t, fmt.Sprintf("%s#%d=kill", point, nth)) {
						mu.Lock()
						defer mu.Unlock()
						died[point] = true
					}
				})
			}
		}
	})
	for _, point := range points { // the rest is reached only by processes that others have left something to
		if !died[point] && !proctest.Selected() && (strings.HasPrefix(point, "batch/flush/") && point != "batch/flush/demoted" ||
			strings.HasPrefix(point, "batch/lead/answer")) {
			t.Errorf("no process came to %s", point)
		}
	}
	t.Logf("killed at %d of %d points", len(died), len(points))
}

// killedInside plays one death, and reports whether there was one.
func killedInside(t *testing.T, plan string) (died bool) {
	p := newPlace(t)
	srv, _ := private()
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	dir := t.TempDir()
	victim := proctest.Start(t, "doomed", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"], dir+"/1", "1000000", plan)
	ended := make(chan struct{})
	go func() {
		for range victim.Lines() {
		}
		close(ended)
	}()
	dead := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	for there := false; !there && !dead(); { // it leads
		if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM log)").Scan(&there); err != nil {
			t.Fatal(err)
		}
	}
	q, err := join(instancetest.Open(t, cfg), p.config)
	if err != nil {
		t.Fatal(err)
	}
	var told []int
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for id := int(next.Add(1)); id <= 40 || !dead() && id <= 200; id = int(next.Add(1)) {
				_, err := q.Do(t.Context(), command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1})
				switch {
				case err == nil:
					mu.Lock()
					told = append(told, id)
					mu.Unlock()
				case batch.ExecutedOf(err) == batch.No:
					t.Errorf("command %d: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	died = dead()
	victim.Kill()
	if _, err := q.Do(t.Context(), command{ID: 1000, Op: batchtest.Insert, Key: "last", Value: 1}); err != nil {
		t.Error(err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	b, _ := os.ReadFile(dir + "/1")
	lines := strings.Split(string(b), "\n")
	for _, l := range lines[:len(lines)-1] {
		id, _ := strconv.Atoi(l)
		told = append(told, id)
	}
	once(t, p, len(told), append(told, 1000))
	return died
}
