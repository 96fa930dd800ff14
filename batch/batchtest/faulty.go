package batchtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/godsm/godsm/batch"
)

// Faults are what goes wrong in a driver, by the probability of each call.
type Faults struct {
	Seed      uint64
	Begin     float64 // a transaction can't begin
	Deadlock  float64 // a statement is a deadlock's victim
	Lost      float64 // the connection is lost in a statement
	Busy      float64 // a commit fails, and the transaction is gone
	LostYes   float64 // the connection is lost after the commit
	LostNo    float64 // the connection is lost before the commit
	NoResult  float64 // what is lost after the commit is lost with its results, if they come with it
	Settle    float64 // what became of a commit can't be asked now
	Unsettled bool    // it can never be asked
}

// Errors of faults.
var (
	errDeadlock = errors.New("injected: deadlock")
	errLost     = errors.New("injected: the connection is lost")
)

// WithFaults returns a driver that does what another one does, but for the faults.
func WithFaults(d batch.Driver[Command, Result], f Faults) batch.Driver[Command, Result] {
	return &faulty{d, f, &dice{rand: rand.New(rand.NewPCG(f.Seed, 1))}}
}

// dice are random numbers for several goroutines.
type dice struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return p > 0 && d.rand.Float64() < p
}

type faulty struct {
	batch.Driver[Command, Result]
	faults Faults
	dice   *dice
}

func (d *faulty) Begin(ctx context.Context, flush uint64) (batch.Tx[Command, Result], error) {
	if d.dice.chance(d.faults.Begin) {
		return nil, errLost
	}
	tx, err := d.Driver.Begin(ctx, flush)
	if err != nil {
		return nil, err
	}
	f := &faultyTx{Tx: tx, d: d}
	if inner, ok := tx.(batch.Finisher[Command, Result]); ok {
		return &faultyFinisher{f, inner}, nil
	}
	return f, nil
}

func (d *faulty) Settle(ctx context.Context, flush uint64) (bool, error) {
	switch {
	case d.faults.Unsettled:
		return false, batch.ErrUnsettled
	case d.dice.chance(d.faults.Settle):
		return false, errLost
	}
	return d.Driver.Settle(ctx, flush)
}

func (d *faulty) Class(err error) batch.Class {
	switch {
	case errors.Is(err, errDeadlock):
		return batch.Transient
	case errors.Is(err, errLost):
		return batch.Lost
	}
	return d.Driver.Class(err)
}

type faultyTx struct {
	batch.Tx[Command, Result]
	d     *faulty
	ended bool
}

// end ends the transaction with an error.
func (tx *faultyTx) end(ctx context.Context, err error) error {
	tx.Tx.Rollback(ctx)
	tx.ended = true
	return err
}

func (tx *faultyTx) Run(ctx context.Context, steps []batch.Step[Command, Result], guard bool) (int, int, error) {
	lo, hi, err := tx.Tx.Run(ctx, steps, guard)
	if err != nil {
		return lo, hi, err
	}
	if tx.d.dice.chance(tx.d.faults.Deadlock) {
		return 0, len(steps[0].Cmds), tx.end(ctx, errDeadlock)
	}
	if tx.d.dice.chance(tx.d.faults.Lost) {
		return 0, len(steps[0].Cmds), tx.end(ctx, errLost)
	}
	return 0, 0, nil
}

func (tx *faultyTx) Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error {
	err := tx.Tx.Interact(ctx, do)
	if err == nil && tx.d.dice.chance(tx.d.faults.Deadlock) {
		return tx.end(ctx, errDeadlock)
	}
	return err
}

func (tx *faultyTx) Alive() bool { return !tx.ended && tx.Tx.Alive() }

func (tx *faultyTx) Commit(ctx context.Context) error {
	if tx.d.dice.chance(tx.d.faults.Busy) {
		return tx.end(ctx, errDeadlock)
	}
	if tx.d.dice.chance(tx.d.faults.LostNo) {
		return tx.end(ctx, errLost)
	}
	err := tx.Tx.Commit(ctx)
	if err == nil && tx.d.dice.chance(tx.d.faults.LostYes) {
		tx.ended = true
		return errLost
	}
	return err
}

func (tx *faultyTx) Rollback(ctx context.Context) {
	if !tx.ended {
		tx.Tx.Rollback(ctx)
	}
}

// faultyFinisher is a faultyTx over a batch.Finisher.
type faultyFinisher struct {
	*faultyTx
	inner batch.Finisher[Command, Result]
}

func (tx *faultyFinisher) Finish(ctx context.Context, steps []batch.Step[Command, Result]) (lo, hi int, ran bool, err error) {
	d, f, n := tx.d.dice, tx.d.faults, count(steps)
	switch {
	case d.chance(f.Deadlock):
		return 0, n, false, tx.end(ctx, errDeadlock)
	case d.chance(f.Busy):
		return 0, n, true, tx.end(ctx, errDeadlock)
	case d.chance(f.Lost):
		return 0, n, false, tx.end(ctx, errLost)
	case d.chance(f.LostNo):
		return 0, n, true, tx.end(ctx, errLost)
	}
	lo, hi, ran, err = tx.inner.Finish(ctx, steps)
	if err == nil && d.chance(f.LostYes) {
		tx.ended = true
		if ran = !d.chance(f.NoResult); !ran {
			for _, s := range steps {
				clear(s.Res)
			}
		}
		return 0, n, ran, errLost
	}
	return lo, hi, ran, err
}
