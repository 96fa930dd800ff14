package batchtest

import (
	"context"

	"github.com/godsm/godsm/batch"
)

// WithLog returns a driver that also logs, in the same transaction, the numbers of the commands that a run has executed,
// but for Select. It is for databases whose statements can't log them themselves.
func WithLog(d batch.Driver[Command, Result], log func(ctx context.Context, tx any, ids []int) error) batch.Driver[Command, Result] {
	return &logged{d, log}
}

type logged struct {
	batch.Driver[Command, Result]
	log func(ctx context.Context, tx any, ids []int) error
}

func (d *logged) Begin(ctx context.Context, flush uint64) (batch.Tx[Command, Result], error) {
	tx, err := d.Driver.Begin(ctx, flush)
	if err != nil {
		return nil, err
	}
	return &loggedTx{tx, d}, nil
}

type loggedTx struct {
	batch.Tx[Command, Result]
	d *logged
}

func (tx *loggedTx) Run(ctx context.Context, steps []batch.Step[Command, Result], guard bool) (int, int, error) {
	lo, hi, err := tx.Tx.Run(ctx, steps, guard)
	if err != nil {
		return lo, hi, err
	}
	var ids []int
	for _, s := range steps {
		for i, c := range s.Cmds {
			if c.Op != Select && s.Errs[i] == nil {
				ids = append(ids, c.IDs()...)
			}
		}
	}
	if len(ids) == 0 {
		return 0, 0, nil
	}
	return 0, len(steps[0].Cmds), tx.Tx.Interact(ctx, func(ctx context.Context, own any) error { return tx.d.log(ctx, own, ids) })
}
