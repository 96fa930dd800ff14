package pgx_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// BenchmarkDepth measures what it could gain at most to send the next flush while the former one commits. "two" are two
// engines, each with half of the callers and a connection of its own, so that one executes while the other commits, and
// neither has to keep the order of keys or to settle for the other. idle-% is the share of the time in which one engine's
// connection has nothing to do, because the engine answers and plans: what there is to be gained on one connection.
func BenchmarkDepth(b *testing.B) {
	for _, fsync := range []string{"on", "off"} {
		for _, callers := range []int{8, 64, 1000} {
			b.Run(fmt.Sprintf("fsync=%s/callers=%d", fsync, callers), func(b *testing.B) { depth(b, fsync, callers) })
		}
	}
}

func depth(b *testing.B, fsync string, callers int) {
	p := newPlace(b)
	for _, sql := range []string{"ALTER SYSTEM SET fsync = " + fsync, "SELECT pg_reload_conf()",
		"CREATE TABLE notes (id bigserial, text text UNIQUE CHECK (text <> ''))"} {
		if _, err := p.admin.Exec(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	var busy atomic.Int64
	one := batch.New(watched{notes(p.config), &busy}, byText, batch.Options{})
	two := [2]*batch.Engine[string, int64]{batch.New(notes(p.config), byText, batch.Options{}), batch.New(notes(p.config), byText, batch.Options{})}
	defer func() {
		for _, e := range append(two[:], one) {
			if err := e.Close(ctx); err != nil {
				b.Error(err)
			}
		}
	}()
	began := time.Now()
	batchtest.Compare(b, callers, 500*time.Millisecond,
		batchtest.Side{Name: "one", Rows: 1, Do: func(n int64) error {
			_, err := one.Do(ctx, fmt.Sprintf(note, n))
			return err
		}},
		batchtest.Side{Name: "two", Rows: 1, Do: func(n int64) error {
			_, err := two[n%2].Do(ctx, fmt.Sprintf(note, n))
			return err
		}})
	took := time.Since(began) / 2 // the other half is two's
	b.ReportMetric(100*(1-float64(busy.Load())/float64(took)), "idle-%")
	st := one.Stats()
	b.ReportMetric(float64(st.Commands)/float64(st.Commits), "rows/flush")
}

// watched is a driver whose calls are timed.
type watched struct {
	batch.Driver[string, int64]
	busy *atomic.Int64
}

func (w watched) Begin(ctx context.Context, flush uint64) (batch.Tx[string, int64], error) {
	tx, err := w.Driver.Begin(ctx, flush)
	return watchedTx{tx, w.busy}, err
}

type watchedTx struct {
	batch.Tx[string, int64]
	busy *atomic.Int64
}

func (w watchedTx) Run(ctx context.Context, steps []batch.Step[string, int64], guard bool) (int, int, error) {
	defer w.note(time.Now())
	return w.Tx.Run(ctx, steps, guard)
}

func (w watchedTx) Commit(ctx context.Context) error {
	defer w.note(time.Now())
	return w.Tx.Commit(ctx)
}

func (w watchedTx) note(since time.Time) { w.busy.Add(int64(time.Since(since))) }
