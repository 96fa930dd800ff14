package pgx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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
	return &conn[Cmd, Res]{config: config, statement: statement, options: options, queue: rand.Text(), number: 1}
}

// conn is the driver: one connection, opened when it is needed.
type conn[Cmd, Res any] struct {
	config    *pgx.ConnConfig
	statement func(Cmd) *Statement[Cmd, Res]
	options   Options
	queue     string // the row of batch_epoch
	number    uint64 // of Lead: a higher one in the row means that another driver leads
	led       bool   // the name is others', too
	warned    bool
	last      struct{ by, flush uint64 } // as the row was when the connection was opened

	conn    *pgx.Conn
	pid     uint32                                  // of its backend
	since   time.Time                               // when that was started
	durable bool                                    // its server waits for the disk at a commit
	known   map[string]*pgconn.StatementDescription // statements that are prepared

	batch   pgx.Batch                      // scratch, as the rest
	ready   []*pgconn.StatementDescription // of Finish
	queries []pgx.ExtendedQueryBuilder
	args    []any
	dest    []any
	res     Res
}

// What the driver says about its row.
const (
	table = `CREATE TABLE IF NOT EXISTS batch_epoch (queue text PRIMARY KEY, epoch bigint NOT NULL, by bigint NOT NULL,
	flush bigint NOT NULL, used timestamptz NOT NULL) WITH (fillfactor = 20)`
	sweep = `DELETE FROM batch_epoch WHERE used < now() - interval '7 days'` // of drivers that are no more
	enter = `INSERT INTO batch_epoch AS e VALUES ($1, $2, 0, 0, now())
	ON CONFLICT (queue) DO UPDATE SET used = now(), epoch = greatest(e.epoch, excluded.epoch) RETURNING epoch, by, flush`
	leave = `DELETE FROM batch_epoch WHERE queue = $1 AND epoch = $2`
	mark  = `UPDATE batch_epoch SET flush = $1, by = $4, used = now() WHERE queue = $2 AND epoch = $4
	RETURNING set_config('idle_in_transaction_session_timeout', $3, true)`
	// alone is mark where no other process leads, for a transaction without waits inside; it makes the row anew if it was deleted.
	alone = `INSERT INTO batch_epoch VALUES ($1, $2, $2, $3, now())
	ON CONFLICT (queue) DO UPDATE SET flush = excluded.flush, by = excluded.by, used = excluded.used`
	self = `SELECT backend_start, current_setting('synchronous_commit'), current_setting('fsync') FROM pg_stat_activity
	WHERE pid = pg_backend_pid()`
	end    = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2`
	settle = `SELECT epoch, by, flush FROM batch_epoch WHERE queue = $1 FOR UPDATE`
)

// errDeposed is what a transaction fails with whose row in batch_epoch has another number, or was deleted.
var errDeposed = fmt.Errorf("%w: the driver's row in batch_epoch says so, or was deleted", batch.ErrDeposed)

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
	c.durable = synchronous != "off" && fsync != "off"
	if !c.durable && !c.warned {
		c.warned = true
		c.options.Logger.Warn("the server may lose transactions that it has acknowledged", "synchronous_commit", synchronous, "fsync", fsync)
	}
	c.conn, c.pid, c.since, c.known = conn, conn.PgConn().PID(), since, map[string]*pgconn.StatementDescription{}
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
		var epoch, by, flush int64
		err = c.conn.QueryRow(ctx, enter, c.queue, int64(c.number)).Scan(&epoch, &by, &flush)
		c.last.by, c.last.flush = uint64(by), uint64(flush)
		if err == nil && uint64(epoch) != c.number {
			c.drop()
			return fatal{errDeposed}
		}
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
	c.end(ctx, pid, since)
	var epoch, by, last int64
	err := c.conn.QueryRow(ctx, settle, c.queue).Scan(&epoch, &by, &last)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && uint64(by) > c.number { // what it said is lost
		return false, batch.ErrUnsettled
	}
	if err != nil {
		return false, c.failed(err)
	}
	return uint64(by) == c.number && uint64(last) >= flush, nil
}

// end ends a backend, if it is there.
func (c *conn[Cmd, Res]) end(ctx context.Context, pid uint32, since time.Time) {
	var ended bool
	err := c.conn.QueryRow(ctx, end, pid, since).Scan(&ended)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		c.options.Logger.Warn("a backend can't be ended, and is waited for", "pid", pid, "error", err)
	}
}

// Lead implements batch.Fenced.
func (c *conn[Cmd, Res]) Lead(ctx context.Context, name string, number uint64, old string) (by, flush uint64, err error) {
	if pid, since, ok := backend(old); ok {
		if err := c.dial(ctx); err != nil {
			return 0, 0, err
		}
		c.end(ctx, pid, since)
		c.drop()
	}
	c.drop()
	c.queue, c.number, c.led = name, number, true
	if err := c.connect(ctx); err != nil {
		return 0, 0, err
	}
	return c.last.by, c.last.flush, nil
}

// Backend implements batch.Fenced.
func (c *conn[Cmd, Res]) Backend() string {
	if c.conn == nil || c.conn.IsClosed() {
		return ""
	}
	return fmt.Sprintf("%d %s", c.pid, c.since.Format(time.RFC3339Nano))
}

// backend returns what Backend has said.
func backend(text string) (pid uint32, since time.Time, ok bool) {
	number, when, ok := strings.Cut(text, " ")
	n, err := strconv.ParseUint(number, 10, 32)
	since, wrong := time.Parse(time.RFC3339Nano, when)
	return uint32(n), since, ok && err == nil && wrong == nil
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
	var err error
	if !c.led {
		_, err = c.conn.Exec(ctx, leave, c.queue, int64(c.number))
	}
	if c.conn.IsClosed() { // the server has ended it meanwhile; the row is swept
		return nil
	}
	return errors.Join(err, c.conn.Close(ctx))
}
