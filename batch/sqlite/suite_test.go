package sqlite_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"flag"
	"path/filepath"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/sqlite"
)

var programs = flag.Int("programs", 40, "how many random programs the suite plays")

const pragmas = "?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=foreign_keys(1)"

const schema = `
CREATE TABLE parents (key TEXT PRIMARY KEY);
INSERT INTO parents VALUES ('mother'), ('father');
CREATE TABLE rows (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, value INTEGER CHECK (value >= 0), second TEXT UNIQUE,
	parent TEXT REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TRIGGER refuses BEFORE INSERT ON rows WHEN NEW.value = 1000013 BEGIN SELECT RAISE(ABORT, 'refused'); END;
CREATE TRIGGER skips BEFORE INSERT ON rows WHEN NEW.value = 1000014 BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER spoils BEFORE INSERT ON rows WHEN NEW.value = 1000015 BEGIN SELECT RAISE(ROLLBACK, 'spoils'); END;
CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, command INTEGER)`

type (
	command   = batchtest.Command
	result    = batchtest.Result
	statement = sqlite.Statement[command, result]
)

func affected(r *result, n, _ int64) { r.Affected = n }

// orNull returns nil for no text.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

var statements = map[batchtest.Op]*statement{
	batchtest.Insert: {
		SQL: "INSERT INTO rows (key, value, second, parent) VALUES (?, ?, ?, ?)",
		Bind: func(c command, args []any) []any {
			return append(args, c.Key, c.Value, orNull(c.Second), orNull(c.Parent))
		},
		Done: func(r *result, n, id int64) {
			if r.Affected = n; n > 0 {
				r.ID = id
			}
		},
	},
	batchtest.Upsert: {
		SQL:  "INSERT INTO rows (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		Bind: func(c command, args []any) []any { return append(args, c.Key, c.Value) },
		Done: affected,
	},
	batchtest.Update: {
		SQL:  "UPDATE rows SET value = ? WHERE key = ?",
		Bind: func(c command, args []any) []any { return append(args, c.Value, c.Key) },
		Done: affected,
	},
	batchtest.Delete: {
		SQL:  "DELETE FROM rows WHERE key = ?",
		Bind: func(c command, args []any) []any { return append(args, c.Key) },
		Done: affected,
	},
	batchtest.Add: {
		SQL:  "UPDATE rows SET value = value + ? WHERE key = ? RETURNING value",
		Bind: func(c command, args []any) []any { return append(args, c.Value, c.Key) },
		Scan: func(r *result, row []driver.Value) error { r.Value = row[0].(int64); return nil },
		Done: affected,
	},
	batchtest.Select: {
		SQL:  "SELECT value FROM rows WHERE key = ?",
		Bind: func(c command, args []any) []any { return append(args, c.Key) },
		Scan: func(r *result, row []driver.Value) error { r.Value = row[0].(int64); return nil },
		Done: affected,
	},
}

func open(t testing.TB) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db")+pragmas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec(schema); err != nil {
		t.Fatal(err)
	}
	return db
}

func newDriver(db *sql.DB) batch.Driver[command, result] {
	return sqlite.New(db, func(c command) *statement { return statements[c.Op] }, sqlite.Options{})
}

func TestSuite(t *testing.T) {
	batchtest.Run(t, *programs, func(t *testing.T) batchtest.Database {
		db := open(t)
		return batchtest.Database{
			Driver: batchtest.WithLog(newDriver(db), func(ctx context.Context, tx any, ids []int) error {
				for _, id := range ids {
					if _, err := tx.(*sql.Conn).ExecContext(ctx, "INSERT INTO log (command) VALUES (?)", id); err != nil {
						return err
					}
				}
				return nil
			}),
			State: func() ([]int, map[string]batchtest.Row, error) { return state(db) },
			Exec: func(ctx context.Context, tx any, c command) (result, error) {
				s, conn := statements[c.Op], tx.(*sql.Conn)
				r, err := conn.ExecContext(ctx, s.SQL, s.Bind(c, nil)...)
				if err != nil {
					return result{}, err
				}
				n, err := r.RowsAffected()
				if err == nil {
					_, err = conn.ExecContext(ctx, "INSERT INTO log (command) VALUES (?)", c.ID)
				}
				return result{Affected: n}, err
			},
		}
	})
}

// state reads what is there in the end.
func state(db *sql.DB) (executed []int, rows map[string]batchtest.Row, err error) {
	log, err := db.Query("SELECT command FROM log ORDER BY seq")
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	for log.Next() {
		var id int
		if err := log.Scan(&id); err != nil {
			return nil, nil, err
		}
		executed = append(executed, id)
	}
	all, err := db.Query("SELECT key, id, value, coalesce(second, '') FROM rows")
	if err != nil {
		return nil, nil, err
	}
	defer all.Close()
	rows = map[string]batchtest.Row{}
	for all.Next() {
		var key string
		var row batchtest.Row
		if err := all.Scan(&key, &row.ID, &row.Value, &row.Second); err != nil {
			return nil, nil, err
		}
		rows[key] = row
	}
	return executed, rows, nil
}
