package pgx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/godsm/godsm/batch"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tx is the transaction under way on a connection. It says as much as it can in one round trip: what begins it goes
// with the first statements, and what undoes a failed run goes before the next ones.
type tx[Cmd, Res any] struct {
	c      *conn[Cmd, Res]
	flush  uint64
	begun  bool
	strict bool // deferred constraints are checked with each statement
	owes   bool // a failed run is still to be rolled back to its savepoint
	spoilt bool // a run has failed after its savepoint was released
}

const (
	begin     = "BEGIN"
	immediate = "SET CONSTRAINTS ALL IMMEDIATE"
	guardIn   = "SAVEPOINT batch_guard"
	guardOut  = "RELEASE SAVEPOINT batch_guard"
	guardBack = "ROLLBACK TO SAVEPOINT batch_guard"
)

// ahead queues what must be said before anything else, and returns how many statements that are. Where a lone command is
// the whole transaction, an error at COMMIT can only be its own, and constraints need not be checked before.
func (t *tx[Cmd, Res]) ahead(lone bool) int {
	b := &t.c.batch
	*b = pgx.Batch{QueuedQueries: b.QueuedQueries[:0]}
	if t.owes {
		b.Queue(guardBack)
		b.Queue(guardOut)
	}
	if !t.begun {
		b.Queue(begin)
		if t.flush > 0 {
			b.Queue(mark, int64(t.flush), t.c.queue, strconv.FormatInt(t.c.options.Idle.Milliseconds(), 10),
				int64(t.c.number))
		}
	}
	if !t.strict && !lone {
		b.Queue(immediate)
	}
	return b.Len()
}

// prepare prepares a statement once on each connection. Those that pgx prepares by itself it forgets after an error.
func (c *conn[Cmd, Res]) prepare(ctx context.Context, sql string) error {
	if c.config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		description, err := c.conn.Prepare(ctx, sql, sql)
		if err != nil {
			return c.failed(err)
		}
		c.known[sql] = description
		return nil
	}
	c.known[sql] = &pgconn.StatementDescription{}
	return nil
}

// send sends what is queued. It returns how many statements have succeeded of those that are not ahead, -1 if one that is
// ahead has failed, and the error of the next one. rows is called for each of them.
func (t *tx[Cmd, Res]) send(ctx context.Context, ahead int, rows func(i int, r pgx.Rows) error) (own int, err error) {
	c := t.c
	queries := c.batch.QueuedQueries
	strict := slices.ContainsFunc(queries, func(q *pgx.QueuedQuery) bool { return q.SQL == immediate })
	for _, q := range queries {
		if c.known[q.SQL] != nil {
			continue
		}
		if t.owes { // a failed transaction prepares nothing
			if _, err := c.conn.Exec(ctx, guardBack+"; "+guardOut); err != nil {
				return -1, c.failed(err)
			}
			t.owes = false
			c.batch.QueuedQueries, queries, ahead = queries[2:], queries[2:], ahead-2
		}
		if err := c.prepare(ctx, q.SQL); err != nil {
			return -1, err
		}
	}
	done := 0
	results := c.conn.SendBatch(ctx, &c.batch)
	defer func() {
		if e := results.Close(); err == nil {
			err = e
		}
		if done >= ahead {
			t.begun, t.owes, t.strict = true, false, t.strict || strict
		}
		own, err = max(-1, done-ahead), c.failed(err)
	}()
	for i, q := range queries {
		r, err := results.Query()
		if err == nil && i >= ahead && rows != nil {
			err = rows(i-ahead, r)
		}
		if err == nil {
			r.Close()
			err = r.Err()
		}
		if err == nil && q.SQL == mark && r.CommandTag().RowsAffected() != 1 {
			err = fatal{errDeposed}
		}
		if err != nil {
			return 0, err
		}
		done++
	}
	return 0, nil
}

// Run implements batch.Tx.
func (t *tx[Cmd, Res]) Run(ctx context.Context, steps []batch.Step[Cmd, Res], guard bool) (lo, hi int, err error) {
	c := t.c
	for _, sql := range []string{guardBack, guardOut} {
		if guard && c.known[sql] == nil { // what follows a failed run is prepared before it fails
			if err := c.prepare(ctx, sql); err != nil {
				return 0, len(steps[0].Cmds), err
			}
		}
	}
	lone := len(steps) == 1 && len(steps[0].Cmds) == 1 && !guard && !t.begun
	for len(steps) > 0 {
		n := t.ahead(lone)
		before := 0
		if guard {
			c.batch.Queue(guardIn)
			before = 1
		}
		some := steps
		for i, s := range steps {
			st := c.statement(s.Cmds[0])
			if st.Copy != nil && len(s.Cmds) >= leastCopy && !guard {
				some = steps[:i]
				break
			}
			c.args = st.Args(s.Cmds, c.args[:0])
			c.batch.Queue(st.text(len(s.Cmds)), append([]any(nil), c.args...)...)
		}
		steps = steps[len(some):]
		if guard {
			c.batch.Queue(guardOut)
		}
		if c.batch.Len() > 0 {
			done, err := t.send(ctx, n, func(i int, r pgx.Rows) error {
				if i -= before; i < 0 || i >= len(some) {
					return nil
				}
				return c.take(c.statement(some[i].Cmds[0]), some[i], r)
			})
			if err != nil {
				_, servers := errors.AsType[*pgconn.PgError](err)
				t.spoilt = !servers
				t.owes = guard && servers && done >= before && !c.closed()
				failed := max(0, min(done-before, len(some)-1))
				for _, s := range some[:failed] {
					lo += len(s.Cmds)
				}
				return lo, lo + len(some[failed].Cmds), err
			}
		}
		for _, s := range some {
			lo += len(s.Cmds)
		}
		if len(steps) > 0 {
			if err := c.copy(ctx, c.statement(steps[0].Cmds[0]).Copy, steps[0]); err != nil {
				return lo, lo + len(steps[0].Cmds), c.failed(err)
			}
			lo += len(steps[0].Cmds)
			steps = steps[1:]
		}
	}
	return 0, 0, nil
}

// take takes the rows that a statement has returned.
func (c *conn[Cmd, Res]) take(st *Statement[Cmd, Res], s batch.Step[Cmd, Res], rows pgx.Rows) error {
	var n int64
	for rows.Next() {
		var none Res
		c.res = none
		c.dest = append(c.dest[:0], &n)
		if st.Dest != nil {
			c.dest = st.Dest(&c.res, c.dest)
		}
		if err := rows.Scan(c.dest...); err != nil {
			return err
		}
		if n < 1 || n > int64(len(s.Cmds)) {
			return fmt.Errorf("a row for command %d of %d: the first column must be the ordinal", n, len(s.Cmds))
		}
		if st.Done != nil {
			st.Done(&c.res)
		}
		s.Res[n-1] = c.res
	}
	return rows.Err()
}

// copy executes a step by COPY.
func (c *conn[Cmd, Res]) copy(ctx context.Context, to *Copy[Cmd], s batch.Step[Cmd, Res]) error {
	n, err := c.conn.CopyFrom(ctx, to.Table, to.Columns, pgx.CopyFromSlice(len(s.Cmds), func(i int) ([]any, error) {
		c.args = to.Row(s.Cmds[i], c.args[:0])
		return c.args, nil
	}))
	if err == nil && n != int64(len(s.Cmds)) {
		err = fmt.Errorf("%d of %d rows were copied: use the statement where a trigger skips rows", n, len(s.Cmds))
	}
	return err
}

// Interact implements batch.Tx.
func (t *tx[Cmd, Res]) Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error {
	n := t.ahead(false)
	t.c.batch.Queue(guardIn)
	if _, err := t.send(ctx, n, nil); err != nil {
		return err
	}
	err := do(ctx, t.c.conn)
	if t.c.closed() {
		return lost{errors.Join(err, errClosed)}
	}
	background := context.WithoutCancel(ctx)
	if err == nil {
		if _, err = t.c.conn.Exec(background, immediate+"; "+guardOut); err == nil {
			return nil
		}
	}
	_, back := t.c.conn.Exec(background, guardBack+"; "+guardOut)
	return t.c.failed(errors.Join(err, back))
}

var errClosed = errors.New("the connection is closed")

func (c *conn[Cmd, Res]) closed() bool { return c.conn == nil || c.conn.IsClosed() }

// Alive implements batch.Tx: it reports whether the transaction can go on, as PostgreSQL last said and as it was used here.
func (t *tx[Cmd, Res]) Alive() bool {
	if t.c.closed() || t.spoilt {
		return false
	}
	status := t.c.conn.PgConn().TxStatus()
	return status == 'T' || status == 'E' && t.owes || status == 'I' && !t.begun
}

// Commit implements batch.Tx.
func (t *tx[Cmd, Res]) Commit(ctx context.Context) error {
	if t.owes || !t.begun {
		n := t.ahead(true)
		if _, err := t.send(ctx, n, nil); err != nil {
			return err
		}
	}
	tag, err := t.c.conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		err = errors.New("the transaction was rolled back instead of committed")
	}
	return t.c.failed(err)
}

// Rollback implements batch.Tx.
func (t *tx[Cmd, Res]) Rollback(ctx context.Context) {
	if t.c.closed() || t.c.conn.PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := t.c.conn.Exec(ctx, "ROLLBACK"); err != nil {
		t.c.drop()
	}
}
