package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/sqlite"
)

const (
	note    = "%020d: a row of about a hundred bytes, as a log line or a small record would be, with its words"
	oneNote = "INSERT INTO notes (text) VALUES (?)"
)

// connections opens as many connections to one database.
func connections(b *testing.B, db *sql.DB, n int) chan *sql.Stmt {
	all := make(chan *sql.Stmt, n)
	for range n {
		conn, err := db.Conn(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.ExecContext(b.Context(), "PRAGMA busy_timeout = 60000"); err != nil {
			b.Fatal(err)
		}
		s, err := conn.PrepareContext(b.Context(), oneNote)
		if err != nil {
			b.Fatal(err)
		}
		all <- s
	}
	return all
}

// BenchmarkSides compares one connection that commits each row, a pool of 32 of them, a statement of 1,000 rows, and
// the engine: go test -bench Sides -benchtime 5x.
func BenchmarkSides(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			db := open(b)
			if _, err := db.Exec("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE CHECK (text <> ''))"); err != nil {
				b.Fatal(err)
			}
			through := func(pool chan *sql.Stmt) func(n int64) error {
				return func(n int64) error {
					s := <-pool
					defer func() { pool <- s }()
					_, err := s.Exec(fmt.Sprintf(note, n))
					return err
				}
			}
			many, err := db.Prepare("INSERT INTO notes (text) VALUES " + strings.Repeat("(?), ", 999) + "(?)")
			if err != nil {
				b.Fatal(err)
			}
			defer many.Close()
			insert := &sqlite.Statement[string, int64]{
				SQL:  oneNote,
				Bind: func(text string, args []any) []any { return append(args, text) },
				Done: func(id *int64, _, last int64) { *id = last },
			}
			rules, flushes := batchtest.CountFlushes(batch.Rules[string, int64, string, string]{Key: func(text string) (string, bool) { return text, true }})
			e := batch.New(sqlite.New(db, func(string) *sqlite.Statement[string, int64] { return insert }, sqlite.Options{}), rules, batch.Options{})
			defer e.Close(context.Background())
			var one sync.Mutex
			batchtest.Compare(b, callers, 300*time.Millisecond,
				batchtest.Side{Name: "single", Rows: 1, Do: through(connections(b, db, 1))},
				batchtest.Side{Name: "pool", Rows: 1, Do: through(connections(b, db, 32))},
				batchtest.Side{Name: "thousand", Rows: 1000, Callers: 1, Do: func(n int64) error {
					one.Lock()
					defer one.Unlock()
					args := make([]any, 1000)
					for i := range args {
						args[i] = fmt.Sprintf(note, n-int64(i))
					}
					_, err := many.Exec(args...)
					return err
				}},
				batchtest.Side{Name: "batch", Rows: 1, Flushes: flushes, Do: func(n int64) error {
					_, err := e.Do(context.Background(), fmt.Sprintf(note, n))
					return err
				}})
			s := e.Stats()
			b.ReportMetric(s.P50.Seconds()*1000, "flush-p50-ms")
			b.ReportMetric(s.P99.Seconds()*1000, "flush-p99-ms")
			b.ReportMetric(float64(s.Commands)/float64(s.Commits), "rows/flush")
		})
	}
}
