package main

import (
	"context"
	"log/slog"

	"github.com/godsm/godsm/batch"
	driver "github.com/godsm/godsm/batch/pgx"
	"github.com/jackc/pgx/v5"
)

const (
	signPG  = "INSERT INTO guests (text) VALUES ($1) RETURNING id"
	countPG = "INSERT INTO visits AS v (page, n) VALUES ($1, $2) ON CONFLICT (page) DO UPDATE SET n = v.n + excluded.n RETURNING n"
	manyPG  = `WITH given AS MATERIALIZED (
	SELECT * FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS u (page, n, batch_n)
), done AS (
	INSERT INTO visits AS v (page, n) SELECT page, n FROM given ORDER BY batch_n ON CONFLICT (page) DO UPDATE SET n = v.n + excluded.n
	RETURNING page, n
) SELECT batch_n, done.n FROM given JOIN done USING (page)`
)

// pg is connections of this process. Each is used by one goroutine at a time.
type pg struct {
	config *pgx.ConnConfig
	admin  chan *pgx.Conn
	pool   chan *pgx.Conn
}

func openPostgres(ctx context.Context, dsn string) (tables, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	t := &pg{config: config, admin: make(chan *pgx.Conn, 1), pool: make(chan *pgx.Conn, 32)}
	return t, t.dial(ctx, t.admin)
}

func (t *pg) dial(ctx context.Context, to chan *pgx.Conn) error {
	conn, err := pgx.ConnectConfig(ctx, t.config.Copy())
	if err == nil {
		to <- conn
	}
	return err
}

func (t *pg) close() {
	for _, all := range []chan *pgx.Conn{t.admin, t.pool} {
		for len(all) > 0 {
			_ = (<-all).Close(context.Background())
		}
	}
}

// with calls f with a connection.
func (t *pg) with(from chan *pgx.Conn, f func(*pgx.Conn) error) error {
	conn := <-from
	err := f(conn)
	if conn.IsClosed() { // by the end of a request, in the middle
		if again, e := pgx.ConnectConfig(context.Background(), t.config.Copy()); e == nil {
			conn = again
		}
	}
	from <- conn
	return err
}

func (t *pg) make(ctx context.Context) error {
	return t.with(t.admin, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DROP TABLE IF EXISTS guests; DROP TABLE IF EXISTS visits;
		CREATE TABLE guests (id bigserial PRIMARY KEY, text text NOT NULL CHECK (text <> 'bad'));
		CREATE TABLE visits (page text PRIMARY KEY, n bigint NOT NULL)`)
		return err
	})
}

func (t *pg) direct(ctx context.Context, n int) (writer, error) {
	for range n {
		if err := t.dial(ctx, t.pool); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Do executes a command by itself.
func (t *pg) Do(ctx context.Context, c command) (n int64, err error) {
	return n, t.with(t.pool, func(conn *pgx.Conn) error {
		if c.Text != "" {
			return conn.QueryRow(ctx, signPG, c.Text).Scan(&n)
		}
		return conn.QueryRow(ctx, countPG, c.Page, c.Add).Scan(&n)
	})
}

func (t *pg) driver() (batch.Driver[command, int64], error) {
	id := func(n *int64, dest []any) []any { return append(dest, n) }
	text := driver.Column{Name: "text", Type: "text"}
	statements := map[string]*driver.Statement[command, int64]{
		"sign": {
			SQL: driver.InsertSQL("guests", "id", text), One: driver.InsertOneSQL("guests", "id", text), Dest: id,
			Args: func(cmds []command, args []any) []any {
				texts := make([]string, len(cmds))
				for i, c := range cmds {
					texts[i] = c.Text
				}
				return append(args, texts)
			},
		},
		"count": {
			SQL: manyPG, Dest: id,
			Args: func(cmds []command, args []any) []any {
				pages, adds := make([]string, len(cmds)), make([]int64, len(cmds))
				for i, c := range cmds {
					pages[i], adds[i] = c.Page, c.Add
				}
				return append(args, pages, adds)
			},
		},
	}
	return driver.New(t.config.Copy(), func(c command) *driver.Statement[command, int64] { return statements[c.group()] },
		driver.Options{Logger: slog.New(slog.DiscardHandler)}), nil
}

func (t *pg) visits(ctx context.Context, page string) (n int64, err error) {
	return n, t.with(t.admin, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT coalesce(sum(n), 0)::int8 FROM visits WHERE page = $1", page).Scan(&n)
	})
}

func (t *pg) guests(ctx context.Context) (all map[string]int, err error) {
	all = map[string]int{}
	return all, t.with(t.admin, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT text, count(*) FROM guests GROUP BY text")
		if err != nil {
			return err
		}
		var text string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&text, &n}, func() error { all[text] = n; return nil })
		return err
	})
}

func (t *pg) lock(ctx context.Context) (unlock func() error, err error) {
	conn, err := pgx.ConnectConfig(ctx, t.config.Copy())
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE guests, visits IN EXCLUSIVE MODE"); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return func() error { return conn.Close(context.WithoutCancel(ctx)) }, nil
}
