package pgx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Options are settings of a driver. The zero value works.
type Options struct {
	// Codes say what SQLSTATE codes mean, of five letters or classes of two; they go before Codes.
	Codes map[string]batch.Class
	// Idle is after how long the server ends a transaction that waits for this process, so that one that was stopped
	// does not hold its locks for ever; 0: 5 s.
	Idle time.Duration
	// Logger takes warnings; nil: slog.Default().
	Logger *slog.Logger
}

// New returns a driver for an engine. It opens one connection when it is first used. statement returns the statement for
// a command: the same pointer for all commands of a group. An interaction gets the *pgx.Conn.
func New[Cmd, Res any](config *pgx.ConnConfig, statement func(Cmd) *Statement[Cmd, Res], options Options) batch.Driver[Cmd, Res] {
	if options.Idle <= 0 {
		options.Idle = 5 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &conn[Cmd, Res]{config: config, statement: statement, options: options, queue: rand.Text()}
}

// conn is the driver: one connection, opened when it is needed.
type conn[Cmd, Res any] struct {
	config    *pgx.ConnConfig
	statement func(Cmd) *Statement[Cmd, Res]
	options   Options
	queue     string // the row of batch_epoch
	warned    bool

	conn  *pgx.Conn
	pid   uint32          // of its backend
	since time.Time       // when that was started
	known map[string]bool // statements that are prepared

	batch pgx.Batch // scratch, as the rest
	args  []any
	dest  []any
	res   Res
}

// What the driver says about its row.
const (
	table = `CREATE TABLE IF NOT EXISTS batch_epoch (queue text PRIMARY KEY, flush bigint NOT NULL, used timestamptz NOT NULL)
	WITH (fillfactor = 20)`
	sweep = `DELETE FROM batch_epoch WHERE used < now() - interval '7 days'` // of drivers that are no more
	enter = `INSERT INTO batch_epoch VALUES ($1, 0, now()) ON CONFLICT (queue) DO UPDATE SET used = now()`
	leave = `DELETE FROM batch_epoch WHERE queue = $1`
	mark  = `UPDATE batch_epoch SET flush = $1, used = now() WHERE queue = $2 RETURNING set_config('idle_in_transaction_session_timeout', $3, true)`
	self  = `SELECT backend_start, current_setting('synchronous_commit'), current_setting('fsync') FROM pg_stat_activity
	WHERE pid = pg_backend_pid()`
	end    = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2`
	settle = `SELECT flush FROM batch_epoch WHERE queue = $1 FOR UPDATE`
)

// errNoRow is what a transaction fails with whose row was deleted.
var errNoRow = errors.New("the driver's row in batch_epoch is gone: do not delete rows of drivers in use")

// dial opens a connection, and learns what is needed to end it from another one.
func (c *conn[Cmd, Res]) dial(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return lost{err}
	}
	var since time.Time
	var synchronous, fsync string
	if err := conn.QueryRow(ctx, self).Scan(&since, &synchronous, &fsync); err != nil {
		_ = conn.Close(ctx)
		return lost{err}
	}
	if (synchronous == "off" || fsync == "off") && !c.warned {
		c.warned = true
		c.options.Logger.Warn("the server may lose transactions that it has acknowledged", "synchronous_commit", synchronous, "fsync", fsync)
	}
	c.conn, c.pid, c.since, c.known = conn, conn.PgConn().PID(), since, map[string]bool{}
	return nil
}

// connect sees to a connection, and to the driver's row.
func (c *conn[Cmd, Res]) connect(ctx context.Context) error {
	if c.conn != nil && !c.conn.IsClosed() {
		return nil
	}
	if err := c.dial(ctx); err != nil {
		return err
	}
	var there bool
	err := c.conn.QueryRow(ctx, `SELECT to_regclass('batch_epoch') IS NOT NULL`).Scan(&there)
	if err == nil && !there {
		if _, err = c.conn.Exec(ctx, table); duplicate(err) {
			err = nil
		}
	}
	if err == nil {
		_, err = c.conn.Exec(ctx, sweep)
	}
	if err == nil {
		_, err = c.conn.Exec(ctx, enter, c.queue)
	}
	if err != nil {
		closed := c.conn.IsClosed()
		c.drop()
		if closed {
			return lost{err}
		}
		return fmt.Errorf("the table batch_epoch can't be used: %w", err)
	}
	return nil
}

// duplicate reports whether another process has made the table at the same moment.
func duplicate(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "23505" || pg.Code == "42P07")
}

// drop closes the connection without a word to the server.
func (c *conn[Cmd, Res]) drop() {
	if c.conn != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.conn.Close(ctx)
		c.conn = nil
	}
}

// Begin implements batch.Driver. What it has to say goes with the first statements.
func (c *conn[Cmd, Res]) Begin(ctx context.Context, flush uint64) (batch.Tx[Cmd, Res], error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return &tx[Cmd, Res]{c: c, flush: flush}, nil
}

// Settle implements batch.Driver. It ends the old backend, and then waits for the lock of the driver's row, which a
// backend that has got as far as COMMIT holds until its end.
func (c *conn[Cmd, Res]) Settle(ctx context.Context, flush uint64) (bool, error) {
	pid, since := c.pid, c.since
	c.drop()
	if err := c.dial(ctx); err != nil {
		return false, err
	}
	defer func() { c.pid, c.since = pid, since; c.drop() }() // until it is settled, the old backend is the one to end
	var ended bool
	err := c.conn.QueryRow(ctx, end, pid, since).Scan(&ended)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		c.options.Logger.Warn("the backend of a lost connection can't be ended, and is waited for", "pid", pid, "error", err)
	}
	var last uint64
	err = c.conn.QueryRow(ctx, settle, c.queue).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, batch.ErrUnsettled
	}
	if err != nil {
		return false, c.failed(err)
	}
	return last >= flush, nil
}

// failed returns an error as Class wants it, and drops a connection that is of no more use.
func (c *conn[Cmd, Res]) failed(err error) error {
	if err == nil {
		return nil
	}
	if c.conn == nil || c.conn.IsClosed() {
		return lost{err}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && stale[pg.Code] {
		c.drop()
	}
	return err
}

// Close implements batch.Driver.
func (c *conn[Cmd, Res]) Close(ctx context.Context) error {
	if c.conn == nil || c.conn.IsClosed() {
		return nil
	}
	_, err := c.conn.Exec(ctx, leave, c.queue)
	return errors.Join(err, c.conn.Close(ctx))
}
