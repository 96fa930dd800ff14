// Package sqlite is a driver of package batch for SQLite, over modernc.org/sqlite.
//
// SQLite runs in the process, so a statement costs no round trip. The driver therefore executes prepared statements of
// one row each, thousands of them in one transaction: as fast as statements of many rows, without a limit on bound
// values, and each row has its own error. A flush is one BEGIN IMMEDIATE, one write of the driver's own row, and one
// COMMIT.
//
// What the driver keeps in the database is the table batch_epoch, with one row for each driver in use; it makes the
// table when it first connects. The row is written in every transaction that writes, and tells after an error of COMMIT
// whether the transaction is there.
//
// One driver, and so one connection, should write to a file. Other writers are waited for, with naps of 1 to 20 ms.
package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/godsm/godsm/batch"
	"modernc.org/sqlite"
)

// A Statement executes one kind of command, one at a time.
type Statement[Cmd, Res any] struct {
	// SQL is the text, with ? for each value.
	SQL string

	// Bind appends the command's values to args.
	Bind func(cmd Cmd, args []any) []any

	// Scan takes one row that the statement returns. It may keep the values, but not the slice. nil: the statement
	// returns no rows.
	Scan func(res *Res, row []driver.Value) error

	// Done is called when the command has been executed, with the number of rows that it has changed and the rowid of
	// the last one that was inserted by the connection; with Scan, affected is the number of rows that came back.
	// nil: the result is what Scan has made of it.
	Done func(res *Res, affected, lastID int64)
}

// Options are settings of a driver. The zero value works.
type Options struct {
	// Codes say what SQLite's result codes mean, extended or primary; they go before Codes.
	Codes map[int]batch.Class
}

// New returns a driver for an engine. It takes one connection of db when it is first used, which should be in WAL mode
// and with foreign keys as the program wants them. statement returns the statement for a command: the same pointer for
// all commands of a group. An interaction gets the *sql.Conn.
func New[Cmd, Res any](db *sql.DB, statement func(Cmd) *Statement[Cmd, Res], options Options) batch.Driver[Cmd, Res] {
	return &conn[Cmd, Res]{db: db, statement: statement, options: options, queue: rand.Text(), number: 1}
}

// conn is the driver: one connection, opened when it is needed.
type conn[Cmd, Res any] struct {
	db        *sql.DB
	statement func(Cmd) *Statement[Cmd, Res]
	options   Options
	queue     string // the row of batch_epoch
	number    uint64 // of Lead: a higher one in the row means that another driver leads
	led       bool   // the name is others', too

	last       struct{ by, flush int64 } // as the row was when the connection was opened
	conn       *sql.Conn
	prepared   map[string]driver.Stmt // by SQL
	values     []any                  // scratch, as the rest
	statements []*Statement[Cmd, Res]
	named      []driver.NamedValue
	row        []driver.Value
}

// Tables makes what the driver keeps. Rows of drivers that have not written for seven days are deleted.
const tables = `
CREATE TABLE IF NOT EXISTS batch_epoch (queue TEXT PRIMARY KEY, epoch INTEGER NOT NULL, "by" INTEGER NOT NULL,
	flush INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
DELETE FROM batch_epoch WHERE used < unixepoch() - 7 * 86400;
INSERT INTO batch_epoch VALUES (?1, ?2, 0, 0, unixepoch())
	ON CONFLICT DO UPDATE SET used = excluded.used, epoch = max(epoch, excluded.epoch)`

const (
	mark  = `UPDATE batch_epoch SET flush = ?1, "by" = ?3, used = unixepoch() WHERE queue = ?2 AND epoch = ?3`
	row   = `SELECT epoch, "by", flush FROM batch_epoch WHERE queue = ?`
	leave = "DELETE FROM batch_epoch WHERE queue = ? AND epoch = ?"
)

// errDeposed is what a transaction fails with whose row in batch_epoch has another number, or was deleted.
var errDeposed = fmt.Errorf("%w: the driver's row in batch_epoch says so, or was deleted", batch.ErrDeposed)

// connect sees to a connection.
func (c *conn[Cmd, Res]) connect(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err = conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err == nil {
		err = patiently(ctx, func() error { _, err := conn.ExecContext(ctx, tables, c.queue, int64(c.number)); return err })
	}
	var epoch int64
	if err == nil {
		err = conn.QueryRowContext(ctx, row, c.queue).Scan(&epoch, &c.last.by, &c.last.flush)
	}
	if err == nil && uint64(epoch) != c.number {
		err = errDeposed
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	c.conn, c.prepared = conn, map[string]driver.Stmt{}
	return nil
}

// drop closes the connection: what is on it is not known any more.
func (c *conn[Cmd, Res]) drop() {
	if c.conn == nil {
		return
	}
	_ = c.conn.Raw(func(any) error {
		for _, s := range c.prepared {
			_ = s.Close()
		}
		return driver.ErrBadConn // database/sql closes such a connection
	})
	_ = c.conn.Close()
	c.conn = nil
}

// patience is how long others are waited for before the engine is told, which lets callers withdraw their commands.
const patience = 200 * time.Millisecond

// patiently repeats a call while another connection holds the lock of the database.
func patiently(ctx context.Context, call func() error) error {
	for end := time.Now().Add(patience); ; {
		err := call()
		if e, ok := errors.AsType[*sqlite.Error](err); !ok || !busy[e.Code()&0xff] || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond + mathrand.N(19*time.Millisecond))
	}
}

// Begin implements batch.Driver.
func (c *conn[Cmd, Res]) Begin(ctx context.Context, flush uint64) (batch.Tx[Cmd, Res], error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	begin := "BEGIN IMMEDIATE"
	if flush == 0 {
		begin = "BEGIN"
	}
	if err := patiently(ctx, func() error { return c.exec(begin) }); err != nil {
		if c.Class(err) == batch.Lost {
			c.drop()
		}
		return nil, err
	}
	if flush > 0 {
		n, err := c.execute(mark, int64(flush), c.queue, int64(c.number))
		if err == nil && n != 1 {
			err = errDeposed
		}
		if err != nil {
			_ = c.exec("ROLLBACK")
			return nil, err
		}
	}
	return &tx[Cmd, Res]{c}, nil
}

// Settle implements batch.Driver. The connection that has had the error is closed first, which ends its transaction.
func (c *conn[Cmd, Res]) Settle(ctx context.Context, flush uint64) (bool, error) {
	c.drop()
	if err := c.connect(ctx); err != nil && !errors.Is(err, batch.ErrDeposed) {
		return false, err
	}
	if uint64(c.last.by) > c.number { // what the row said is lost
		return false, batch.ErrUnsettled
	}
	return uint64(c.last.by) == c.number && uint64(c.last.flush) >= flush, nil
}

// Lead implements batch.Fenced. A process that is stopped inside a transaction holds the file's lock, and is waited for.
func (c *conn[Cmd, Res]) Lead(ctx context.Context, name string, number uint64, _ string) (by, flush uint64, err error) {
	c.drop()
	c.queue, c.number, c.led = name, number, true
	if err := c.connect(ctx); err != nil {
		return 0, 0, err
	}
	return uint64(c.last.by), uint64(c.last.flush), nil
}

// Backend implements batch.Fenced: a transaction of SQLite ends with its process, and not before.
func (c *conn[Cmd, Res]) Backend() string { return "" }

// Close implements batch.Driver.
func (c *conn[Cmd, Res]) Close(ctx context.Context) error {
	if c.conn == nil {
		return nil
	}
	var err error
	if !c.led {
		err = patiently(ctx, func() error { _, err := c.execute(leave, c.queue, int64(c.number)); return err })
	}
	c.drop()
	return err
}

// exec executes a statement that returns nothing.
func (c *conn[Cmd, Res]) exec(sql string) error {
	_, err := c.execute(sql)
	return err
}

// execute executes a statement and returns how many rows it has changed. It does not end with a context: SQLite would
// roll back the whole transaction if a statement of it is interrupted.
func (c *conn[Cmd, Res]) execute(sql string, args ...any) (affected int64, err error) {
	err = c.conn.Raw(func(raw any) error {
		s, err := c.prepare(raw, sql)
		if err != nil {
			return err
		}
		c.values = append(c.values[:0], args...)
		r, err := s.(driver.StmtExecContext).ExecContext(context.Background(), c.bind())
		if err == nil {
			affected, err = r.RowsAffected()
		}
		return err
	})
	return affected, err
}

// prepare returns the statement with that text.
func (c *conn[Cmd, Res]) prepare(raw any, sql string) (driver.Stmt, error) {
	if s := c.prepared[sql]; s != nil {
		return s, nil
	}
	s, err := raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, err
	}
	c.prepared[sql] = s
	return s, nil
}

// bind returns c.values as SQLite's driver wants them.
func (c *conn[Cmd, Res]) bind() []driver.NamedValue {
	c.named = c.named[:0]
	for i, v := range c.values {
		switch x := v.(type) {
		case int:
			v = int64(x)
		case int32:
			v = int64(x)
		case uint32:
			v = int64(x)
		case float32:
			v = float64(x)
		}
		c.named = append(c.named, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return c.named
}

// Class implements batch.Driver.
func (c *conn[Cmd, Res]) Class(err error) batch.Class {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code()
		return cmp.Or(c.options.Codes[code], c.options.Codes[code&0xff], Codes[code], Codes[code&0xff], batch.Row)
	}
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return batch.Lost
	case errors.Is(err, sql.ErrTxDone), errors.Is(err, batch.ErrDeposed):
		return batch.Fatal
	}
	return batch.Row
}
