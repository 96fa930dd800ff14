package batch

import (
	"context"
	"errors"
)

// interaction is the program's own code in a transaction.
type interaction struct {
	do       func(ctx context.Context, tx any) error
	undo     func(attempt int, cause error)
	attempts int
	ran      bool // in the transaction under way
	alone    bool // it takes long, and runs in a transaction of its own
}

// errBudget ends the context of an interaction that takes long while others share its transaction.
var errBudget = errors.New("the interaction's time in a shared transaction is over")

// Interact calls do inside the transaction, at its place in the order: all that was handed in before is executed before
// it, and all that is handed in later after it. tx is the driver's own type of a transaction.
//
// do may be called more than once. If what it did is rolled back, undo is called with the number of the attempt and the
// cause, before the next attempt and also if there is none: it undoes what do has changed outside the database. undo
// may be nil.
//
// If do returns an error, all it has done in the database is undone, and Interact returns that error, unless the driver
// calls it transient or lost. While others share its transaction, do has Options.Budget: then its context ends, and it
// is called again in a transaction of its own, without that limit. do must not call the engine: with its context such
// calls fail with ErrInside. It must not commit, roll back or keep tx.
func (e *Engine[Cmd, Res]) Interact(ctx context.Context, do func(ctx context.Context, tx any) error,
	undo func(attempt int, cause error)) error {
	c := e.calls.Get().(*call[Cmd, Res])
	c.interact = &interaction{do: do, undo: undo}
	_, err := e.do(ctx, c)
	return err
}

// interact runs an interaction's code. What it has done is undone if there is an error.
func (f *flush[Cmd, Res]) interact(i *interaction) error {
	ctx, cancel := context.WithValue(f.e.ctx, scopeKey{}, &scope{inside: f.e}), func() {}
	if !i.alone {
		ctx, cancel = context.WithTimeoutCause(ctx, f.e.options.Budget, errBudget)
	}
	defer cancel()
	i.attempts++
	i.ran = true
	err := f.tx.Interact(ctx, func(ctx context.Context, tx any) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = panicked("an interaction", v)
			}
		}()
		return i.do(ctx, tx)
	})
	if err == nil {
		return nil
	}
	if context.Cause(ctx) == errBudget {
		err = errBudget
	}
	f.undo(i, err)
	return err
}

// undo tells an interaction that what it did was rolled back.
func (f *flush[Cmd, Res]) undo(i *interaction, cause error) {
	if !i.ran {
		return
	}
	i.ran = false
	defer func() {
		if v := recover(); v != nil {
			f.e.noteTrouble(panicked("an interaction's undo", v))
		}
	}()
	if i.undo != nil {
		i.undo(i.attempts, cause)
	}
}
