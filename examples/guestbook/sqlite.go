package main

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/sqlite"
)

const pragmas = "?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(30000)" // a commit is on disk

const (
	signSQL  = "INSERT INTO guests (text) VALUES (?) RETURNING id"
	countSQL = "INSERT INTO visits (page, n) VALUES (?, ?) ON CONFLICT (page) DO UPDATE SET n = n + excluded.n RETURNING n"
)

type lite struct{ db *sql.DB }

func openSQLite(file string) (tables, error) {
	db, err := sql.Open("sqlite", file+pragmas)
	return &lite{db}, err
}

func (t *lite) close() { _ = t.db.Close() }

func (t *lite) make(ctx context.Context) error {
	_, err := t.db.ExecContext(ctx, `DROP TABLE IF EXISTS guests; DROP TABLE IF EXISTS visits;
		CREATE TABLE guests (id INTEGER PRIMARY KEY, text TEXT NOT NULL CHECK (text <> 'bad'));
		CREATE TABLE visits (page TEXT PRIMARY KEY, n INTEGER NOT NULL)`)
	return err
}

// args returns a command's statement and values.
func args(c command) (text string, values []any) {
	if c.Text != "" {
		return signSQL, []any{c.Text}
	}
	return countSQL, []any{c.Page, c.Add}
}

func (t *lite) direct(_ context.Context, n int) (writer, error) {
	t.db.SetMaxOpenConns(n)
	return t, nil
}

// Do executes a command by itself.
func (t *lite) Do(ctx context.Context, c command) (n int64, err error) {
	text, values := args(c)
	return n, t.db.QueryRowContext(ctx, text, values...).Scan(&n)
}

func (t *lite) driver() (batch.Driver[command, int64], error) {
	statements := map[string]*sqlite.Statement[command, int64]{}
	for _, c := range []command{{Text: "x"}, {}} {
		text, _ := args(c)
		statements[c.group()] = &sqlite.Statement[command, int64]{
			SQL: text,
			Bind: func(c command, values []any) []any {
				_, v := args(c)
				return append(values, v...)
			},
			Scan: func(n *int64, row []driver.Value) error { *n = row[0].(int64); return nil },
		}
	}
	return sqlite.New(t.db, func(c command) *sqlite.Statement[command, int64] { return statements[c.group()] }, sqlite.Options{}), nil
}

func (t *lite) visits(ctx context.Context, page string) (n int64, err error) {
	return n, t.db.QueryRowContext(ctx, "SELECT coalesce(sum(n), 0) FROM visits WHERE page = ?", page).Scan(&n)
}

func (t *lite) guests(ctx context.Context) (map[string]int, error) {
	rows, err := t.db.QueryContext(ctx, "SELECT text, count(*) FROM guests GROUP BY text")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]int{}
	for rows.Next() {
		var text string
		var n int
		if err := rows.Scan(&text, &n); err != nil {
			return nil, err
		}
		all[text] = n
	}
	return all, rows.Err()
}

func (t *lite) lock(ctx context.Context) (unlock func() error, err error) {
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() error {
		defer conn.Close()
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return err
	}, nil
}
