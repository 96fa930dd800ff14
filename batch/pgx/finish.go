package pgx

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/batch"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Finish implements batch.Finisher. All goes to the server at once: statements without BEGIN, which are a transaction up to
// the Sync behind them, and before that a request to send the results, so that these are on their way before the server
// commits. That request is spared where the server does not wait for its disk. Where others lead under the same name, or statements are not prepared, Finish is Run and Commit.
func (t *tx[Cmd, Res]) Finish(ctx context.Context, steps []batch.Step[Cmd, Res]) (lo, hi int, ran bool, err error) {
	c := t.c
	if c.led || c.config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		if lo, hi, err = t.Run(ctx, steps, false); err != nil {
			return lo, hi, false, err
		}
		for _, s := range steps {
			hi += len(s.Cmds)
		}
		return 0, hi, true, t.Commit(ctx)
	}
	if err := t.prepareAll(ctx, steps); err != nil {
		return 0, len(steps[0].Cmds), false, err
	}
	p := c.conn.PgConn().StartPipeline(ctx)
	for i, d := range c.ready {
		q := &c.queries[i]
		p.SendQueryStatement(d, q.ParamValues, q.ParamFormats, q.ResultFormats)
	}
	if t.flush > 0 && c.durable {
		p.SendFlushRequest()
	}
	_ = p.Sync() // the results tell
	lo, hi, ran, garbled, err := t.takeAll(p, steps)
	if e := p.Close(); err == nil {
		err = e
	}
	switch {
	case err != nil:
		return lo, hi, ran, c.failed(err)
	case garbled != nil:
		return 0, hi, ran, &batch.Error{Executed: batch.Yes, Class: batch.Row, Err: garbled}
	}
	return 0, hi, true, nil
}

// prepareAll prepares the statements of the whole transaction, where they have not been on this connection, and encodes
// their arguments.
func (t *tx[Cmd, Res]) prepareAll(ctx context.Context, steps []batch.Step[Cmd, Res]) error {
	c := t.c
	c.ready = c.ready[:0]
	queue := func(sql string) error {
		if c.known[sql] == nil {
			if err := c.prepare(ctx, sql); err != nil {
				return err
			}
		}
		n := len(c.ready)
		c.ready = append(c.ready, c.known[sql])
		if n == len(c.queries) {
			c.queries = append(c.queries, pgx.ExtendedQueryBuilder{})
		}
		return c.queries[n].Build(c.conn.TypeMap(), c.ready[n], c.args)
	}
	if t.flush > 0 {
		c.args = append(c.args[:0], c.queue, int64(c.number), int64(t.flush))
		if err := queue(alone); err != nil {
			return err
		}
	}
	for _, s := range steps {
		st := c.statement(s.Cmds[0])
		c.args = st.Args(s.Cmds, c.args[:0])
		if err := queue(st.text(len(s.Cmds))); err != nil {
			return err
		}
	}
	return nil
}

// takeAll takes the results. garbled is an error of the program's own functions, which comes too late to undo anything.
func (t *tx[Cmd, Res]) takeAll(p *pgconn.Pipeline, steps []batch.Step[Cmd, Res]) (lo, hi int, ran bool, garbled, err error) {
	c := t.c
	if t.flush > 0 {
		if _, err := p.GetResults(); err != nil {
			return 0, len(steps[0].Cmds), false, nil, err
		}
	}
	for _, s := range steps {
		st := c.statement(s.Cmds[0])
		lo, hi = hi, hi+len(s.Cmds)
		results, err := p.GetResults()
		if err == nil {
			r, ok := results.(*pgconn.ResultReader)
			if !ok {
				return lo, hi, false, nil, errors.New("the server has sent something else than the results of a statement")
			}
			rows := pgx.RowsFromResultReader(c.conn.TypeMap(), r)
			e := c.takeSafely(st, s, rows)
			rows.Close()
			if _, err = r.Close(); err == nil && garbled == nil {
				garbled = e
			}
		}
		if err != nil {
			return lo, hi, st.Dest == nil && st.Done == nil && len(steps) == 1, nil, err
		}
	}
	_, err = p.GetResults()
	return 0, hi, true, garbled, err
}

// takeSafely does what take does, and returns a panic as an error.
func (c *conn[Cmd, Res]) takeSafely(st *Statement[Cmd, Res], s batch.Step[Cmd, Res], rows pgx.Rows) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a function of the statement: %w: %v", batch.ErrPanic, v)
		}
	}()
	return c.take(st, s, rows)
}
