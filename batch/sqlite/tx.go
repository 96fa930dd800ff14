package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/godsm/godsm/batch"
	"modernc.org/sqlite"
)

// tx is the transaction under way on a connection.
type tx[Cmd, Res any] struct{ c *conn[Cmd, Res] }

// errOrphan is the error of a command that leaves a deferred foreign key without its row.
var errOrphan = errors.New("FOREIGN KEY constraint failed")

// Run implements batch.Tx. A command that SQLite refuses has its own error, and the others go on.
func (t *tx[Cmd, Res]) Run(_ context.Context, steps []batch.Step[Cmd, Res], guard bool) (lo, hi int, err error) {
	if guard {
		if err := t.c.exec("SAVEPOINT batch_guard"); err != nil {
			return 0, len(steps[0].Cmds), err
		}
	}
	t.c.statements = t.c.statements[:0]
	for _, s := range steps {
		t.c.statements = append(t.c.statements, t.c.statement(s.Cmds[0]))
	}
	n := 0
	err = t.c.conn.Raw(func(raw any) error {
		for x, s := range steps {
			statement := t.c.statements[x]
			prepared, err := t.c.prepare(raw, statement.SQL)
			if err != nil {
				return err
			}
			for i := range s.Cmds {
				switch executed, err := t.c.one(raw, prepared, statement, s.Cmds[i], &s.Res[i]); {
				case err == nil:
				case executed || t.c.Class(err) != batch.Row || !t.c.inTransaction(raw):
					return err
				default:
					s.Errs[i] = err
				}
				n++
			}
		}
		return nil
	})
	if guard && t.Alive() {
		if err != nil {
			err = errors.Join(err, t.c.exec("ROLLBACK TO batch_guard"))
		}
		err = errors.Join(err, t.c.exec("RELEASE batch_guard"))
	}
	return n, n + 1, err
}

// one executes one command. It reports whether SQLite has executed it, though it has failed after that.
func (c *conn[Cmd, Res]) one(raw any, prepared driver.Stmt, s *Statement[Cmd, Res], cmd Cmd, res *Res) (executed bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a function of the statement: %w: %v", batch.ErrPanic, v)
		}
	}()
	c.values = s.Bind(cmd, c.values[:0])
	args := c.bind()
	var affected, last int64
	if s.Scan == nil {
		r, err := prepared.(driver.StmtExecContext).ExecContext(context.Background(), args)
		if err != nil {
			return false, err
		}
		if s.Done != nil {
			affected, _ = r.RowsAffected()
			last, _ = r.LastInsertId()
		}
	} else {
		rows, err := prepared.(driver.StmtQueryContext).QueryContext(context.Background(), args)
		if err != nil {
			return false, err
		}
		executed = true
		if affected, err = c.scan(rows, s, res); err != nil {
			return true, err
		}
	}
	executed = true
	if late, _, err := raw.(sqlite.DBStatus).Status(sqlite.DBStatusDeferredFKs, false); err != nil || late > 0 {
		return true, errors.Join(err, errOrphan)
	}
	if s.Done != nil {
		s.Done(res, affected, last)
	}
	return true, nil
}

// scan takes the rows of one command.
func (c *conn[Cmd, Res]) scan(rows driver.Rows, s *Statement[Cmd, Res], res *Res) (n int64, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns := len(rows.Columns())
	for len(c.row) < columns {
		c.row = append(c.row, nil)
	}
	for {
		switch err := rows.Next(c.row[:columns]); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		n++
		if err := s.Scan(res, c.row[:columns]); err != nil {
			return n, fmt.Errorf("a row can't be scanned: %w", err)
		}
	}
}

// Interact implements batch.Tx.
func (t *tx[Cmd, Res]) Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error {
	if err := t.c.exec("SAVEPOINT batch_interact"); err != nil {
		return err
	}
	err := do(ctx, t.c.conn)
	if !t.Alive() {
		return errors.Join(err, errGone)
	}
	if err == nil {
		err = t.orphans()
	}
	if err != nil {
		err = errors.Join(err, t.c.exec("ROLLBACK TO batch_interact"))
	}
	return errors.Join(err, t.c.exec("RELEASE batch_interact"))
}

var errGone = errors.New("SQLite has rolled back the transaction")

// orphans returns an error if a deferred foreign key has no row.
func (t *tx[Cmd, Res]) orphans() error {
	return t.c.conn.Raw(func(raw any) error {
		if late, _, err := raw.(sqlite.DBStatus).Status(sqlite.DBStatusDeferredFKs, false); err != nil || late > 0 {
			return errors.Join(err, errOrphan)
		}
		return nil
	})
}

// Alive implements batch.Tx: it reports whether the transaction can go on. SQLite rolls back by itself at some errors, and by
// ON CONFLICT ROLLBACK and RAISE(ROLLBACK).
func (t *tx[Cmd, Res]) Alive() (alive bool) {
	err := t.c.conn.Raw(func(raw any) error {
		alive = t.c.inTransaction(raw)
		return nil
	})
	return alive && err == nil
}

// inTransaction reports whether a transaction is open. It asks by trying to begin another one, which SQLite refuses inside a
// transaction.
func (c *conn[Cmd, Res]) inTransaction(raw any) bool {
	s, err := c.prepare(raw, "BEGIN")
	if err != nil {
		return false
	}
	if _, err = s.(driver.StmtExecContext).ExecContext(context.Background(), nil); err != nil {
		return true
	}
	if s, err = c.prepare(raw, "ROLLBACK"); err == nil {
		_, _ = s.(driver.StmtExecContext).ExecContext(context.Background(), nil)
	}
	return false
}

// Commit implements batch.Tx. While readers are in its way, it is tried again: the transaction stays.
func (t *tx[Cmd, Res]) Commit(ctx context.Context) error {
	return patiently(ctx, func() error { return t.c.exec("COMMIT") })
}

// Rollback implements batch.Tx.
func (t *tx[Cmd, Res]) Rollback(context.Context) {
	if t.c.conn == nil {
		return
	}
	alive := false
	err := t.c.conn.Raw(func(raw any) error {
		alive = t.c.inTransaction(raw)
		return nil
	})
	if err != nil || alive && t.c.exec("ROLLBACK") != nil {
		t.c.drop()
	}
}
