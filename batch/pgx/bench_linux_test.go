package pgx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	driver "github.com/godsm/godsm/batch/pgx"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/jackc/pgx/v5"
)

const (
	note    = "%020d: a row of about a hundred bytes, as a log line or a small record would be, with its words"
	oneNote = "INSERT INTO notes (text) VALUES ($1) RETURNING id"
)

// BenchmarkSides compares one connection that commits each row, a pool of 32 of them, a statement of 1,000 rows, and
// the engine, with fsync and without: go test -bench Sides -benchtime 5x.
func BenchmarkSides(b *testing.B) {
	for _, fsync := range []string{"on", "off"} {
		for _, callers := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("fsync=%s/callers=%d", fsync, callers), func(b *testing.B) { sides(b, fsync, callers) })
		}
	}
}

func sides(b *testing.B, fsync string, callers int) {
	p := newPlace(b)
	ctx := context.Background()
	for _, sql := range []string{"ALTER SYSTEM SET fsync = " + fsync, "SELECT pg_reload_conf()",
		"CREATE TABLE notes (id bigserial, text text UNIQUE CHECK (text <> ''))"} {
		if _, err := p.admin.Exec(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	through := func(n int) func(n int64) error {
		pool := make(chan *pgx.Conn, n)
		for range n {
			conn, err := pgx.ConnectConfig(ctx, p.config)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = conn.Close(ctx) })
			pool <- conn
		}
		return func(n int64) error {
			conn := <-pool
			defer func() { pool <- conn }()
			var id int64
			return conn.QueryRow(ctx, oneNote, fmt.Sprintf(note, n)).Scan(&id)
		}
	}
	many, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		b.Fatal(err)
	}
	defer many.Close(ctx)
	rules, flushes := batchtest.CountFlushes(byText)
	e := batch.New(notes(p.config), rules, batch.Options{})
	defer e.Close(ctx)
	batchtest.Compare(b, callers, 300*time.Millisecond,
		batchtest.Side{Name: "single", Rows: 1, Do: through(1)},
		batchtest.Side{Name: "pool", Rows: 1, Do: through(32)},
		batchtest.Side{Name: "thousand", Rows: 1000, Callers: 1, Do: func(n int64) error {
			texts := make([]string, 1000)
			for i := range texts {
				texts[i] = fmt.Sprintf(note, n-int64(i))
			}
			rows, _ := many.Query(ctx, "INSERT INTO notes (text) SELECT unnest($1::text[]) RETURNING id", texts)
			_, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			return err
		}},
		batchtest.Side{Name: "batch", Rows: 1, Flushes: flushes, Do: func(n int64) error {
			_, err := e.Do(ctx, fmt.Sprintf(note, n))
			return err
		}})
	s := e.Stats()
	b.ReportMetric(s.P50.Seconds()*1000, "flush-p50-ms")
	b.ReportMetric(s.P99.Seconds()*1000, "flush-p99-ms")
	b.ReportMetric(float64(s.Commands)/float64(s.Commits), "rows/flush")
}

var (
	byText     = batch.Rules[string, int64, string, string]{Key: func(text string) (string, bool) { return text, true }}
	insertNote = &driver.Statement[string, int64]{
		SQL:  driver.InsertSQL("notes", "id", driver.Column{Name: "text", Type: "text"}),
		One:  driver.InsertOneSQL("notes", "id", driver.Column{Name: "text", Type: "text"}),
		Args: func(texts []string, args []any) []any { return append(args, texts) },
		Dest: func(id *int64, dest []any) []any { return append(dest, id) },
	}
)

func notes(config *pgx.ConnConfig) batch.Driver[string, int64] {
	return driver.New(config, func(string) *driver.Statement[string, int64] { return insertNote },
		driver.Options{Logger: slog.New(slog.DiscardHandler)})
}

func init() { proctest.Register("flusher", flusher) }

func joinNotes(s *dsm.Session, d shared.Driver[string, int64]) (*shared.Queue[string, int64], error) {
	return shared.Open(ctx, s, "notes", asJSON[string](), asJSON[int64](), byText, d, shared.Options{Slots: 4096, Logger: slog.New(slog.DiscardHandler)})
}

// flusher leads the queue of notes: DIR DSN SCHEMA.
func flusher(c *proctest.Child) error {
	s, config, err := openHere(c)
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := joinNotes(s, func() (batch.Driver[string, int64], error) { return notes(config), nil })
	if err != nil {
		return err
	}
	c.Say("ready")
	c.Hear()
	return q.Close(ctx)
}

// BenchmarkShared compares a direct insert, an engine of this process, and one in another process.
func BenchmarkShared(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			p := newPlace(b)
			srv, _ := private()
			if _, err := p.admin.Exec(ctx, "CREATE TABLE notes (id bigserial, text text UNIQUE CHECK (text <> ''))"); err != nil {
				b.Fatal(err)
			}
			cfg := instancetest.Config(b, "posix")
			instancetest.Start(b, cfg)
			s := instancetest.Open(b, cfg)
			f := proctest.Start(b, "flusher", cfg.Dir, srv.dsn(), p.config.RuntimeParams["search_path"])
			f.Expect("ready")
			q, err := joinNotes(s, nil)
			if err != nil {
				b.Fatal(err)
			}
			e := batch.New(notes(p.config), byText, batch.Options{})
			var one sync.Mutex
			batchtest.Compare(b, callers, 500*time.Millisecond,
				batchtest.Side{Name: "direct", Rows: 1, Callers: 1, Do: func(n int64) error {
					one.Lock()
					defer one.Unlock()
					var id int64
					return p.admin.QueryRow(ctx, oneNote, fmt.Sprintf(note, n)).Scan(&id)
				}},
				batchtest.Side{Name: "local", Rows: 1, Do: func(n int64) error {
					_, err := e.Do(ctx, fmt.Sprintf(note, n))
					return err
				}},
				batchtest.Side{Name: "shared", Rows: 1, Do: func(n int64) error {
					_, err := q.Do(ctx, fmt.Sprintf(note, n))
					return err
				}})
			own := e.Stats()
			b.ReportMetric(float64(own.Commands)/float64(own.Commits), "local-rows/flush")
			if s, err := q.Stats(); err == nil {
				b.ReportMetric(float64(s.Commands)/float64(s.Commits), "shared-rows/flush")
			}
			if err := errors.Join(e.Close(ctx), q.Close(ctx), f.Close()); err != nil {
				b.Error(err)
			}
		})
	}
}
