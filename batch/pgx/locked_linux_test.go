package pgx_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

var locked = flag.Duration("locked", 200*time.Millisecond, "how long a stranger locks the table")

// TestALockedTableHoldsUpItsWritersAlone has a stranger lock the table. Requests that do not need the database are answered
// meanwhile, the queue takes as many commands as it has room for, and those whose contexts end are not executed. After the
// lock all that have waited are one flush.
func TestALockedTableHoldsUpItsWritersAlone(t *testing.T) {
	p := newPlace(t)
	const room = 100
	e := batch.New(newDriver(p), batchtest.Rules(), batch.Options{Queue: room, Full: batch.Fail})
	defer e.Close(context.Background())
	insert := func(id int) command {
		return command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: 1}
	}
	do(t, e, insert(1))
	p.exec(t, "BEGIN")
	p.exec(t, "LOCK TABLE rows IN EXCLUSIVE MODE")
	told := []int{1}
	var futures []*batch.Future[result]
	submit := func(ctx context.Context, id int) {
		futures, told = append(futures, e.Submit(ctx, insert(id))), append(told, id)
	}
	submit(t.Context(), 2)
	for waits := false; !waits; {
		if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	for id := range room / 2 {
		submit(t.Context(), 1000+id)
	}
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, room/2)
	for id := range room / 2 {
		go func() { _, err := e.Do(leaving, insert(2000+id)); left <- err }()
	}
	for e.Stats().Waiting < room {
		time.Sleep(time.Millisecond)
	}
	if _, err := e.Do(t.Context(), insert(3000)); !errors.Is(err, batch.ErrFull) {
		t.Errorf("a command for which there is no room: %v", err)
	}
	leave()
	for range room / 2 {
		if err := <-left; batch.ExecutedOf(err) != batch.No {
			t.Errorf("a command that was withdrawn: %v", err)
		}
	}
	for id := range room / 2 { // they have left their room
		submit(t.Context(), 4000+id)
	}
	took := askElsewhere(t, *locked)
	before := e.Stats().Commits
	p.exec(t, "COMMIT")
	for _, f := range futures {
		if _, err := f.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := e.Stats().Commits - before; n > 2 {
		t.Errorf("%d flushes after the lock, of which one had begun before", n)
	}
	once(t, p, len(told), told)
	if executed, _, err := p.state(); err != nil || len(executed) != len(told) {
		t.Errorf("%d commands were executed, not %d: %v", len(executed), len(told), err)
	}
	t.Logf("locked for %v: p50 %v and p99 %v of %d requests without the database", *locked, took[len(took)/2], took[len(took)*99/100], len(took))
}

// askElsewhere sends requests to a server that does not use the database, for so long, and returns how long each took, sorted.
func askElsewhere(t *testing.T, span time.Duration) []time.Duration {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, "well") }))
	defer server.Close()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(time.Millisecond) {
				began := time.Now()
				answer, err := server.Client().Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				_ = answer.Body.Close()
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

// TestCloseOfAConnectionThatHasEnded has the server end the connection of an engine that does nothing: Close has nothing to say
// about that.
func TestCloseOfAConnectionThatHasEnded(t *testing.T) {
	p := newPlace(t)
	e := batch.New(newDriver(p), batchtest.Rules(), batch.Options{})
	do(t, e, command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1})
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	for there := true; there; {
		if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1)",
			p.config.RuntimeParams["application_name"]).Scan(&there); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
