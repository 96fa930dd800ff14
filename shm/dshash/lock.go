package dshash

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/shm/shmsync"
)

// lock takes the lock of partition i for e, which has it from then on, and repairs what a dead holder left. If it
// fails e has no lock. The caller is in a scope, which gives the lock back if there is a fault; see core.broken.
func (t *core) lock(ctx context.Context, i int, exclusive bool, e *entry) error {
	if err := t.area.Current(); err != nil {
		return fmt.Errorf("dshash: %w", err)
	}
	return t.lockMended(ctx, i, exclusive, e)
}

// impatient is a context that is over: a lock is had at once, or not.
var impatient = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// take waits for a lock, until ctx is over or the area.
func (t *core) take(ctx context.Context, i int, exclusive bool, e *entry) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer t.ends.OnEnd(cancel)()
	l := &t.local[i]
	if exclusive {
		e.guard, err = l.lock.Lock(ctx)
	} else {
		e.guard, err = l.lock.RLock(ctx)
	}
	if errors.Is(err, shmsync.ErrNotRecoverable) { // all that it guards can be repaired
		e.guard, err = l.lock.Recover(ctx)
	}
	switch {
	case t.ends.Ended():
		if err == nil {
			e.l = l
			e.unlock()
		} else {
			t.settleLast()
		}
		return errClosed
	case err != nil:
		return fmt.Errorf("dshash: partition %d: %w", i, err)
	}
	e.l = l
	return nil
}

// lockMended goes on with a lock that e has, or that was not free: with repairs, until there is nothing to
// repair and the lock is what it is wanted for.
func (t *core) lockMended(ctx context.Context, i int, exclusive bool, e *entry) error {
	p := &t.parts[i]
	if e.l == nil {
		if err := t.take(ctx, i, exclusive, e); err != nil {
			return err
		}
	}
	for want := exclusive; ; {
		alone := want
		if e.guard.Abandoned() {
			alone = true
			p.dirty.Store(1)
			e.guard.MarkConsistent()
		}
		switch {
		case p.dirty.Load() == 0 && alone == exclusive:
			return nil
		case !alone:
			want = true // to repair
		default:
			want = exclusive
			if p.dirty.Load() == 0 {
				break
			}
			if err := t.repair(ctx, i); err != nil {
				e.unlock()
				return t.answer(fmt.Errorf("dshash: partition %d, whose last holder died, is not repaired: %w", i, err))
			}
			if exclusive {
				return nil
			}
		}
		e.unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.take(ctx, i, want, e); err != nil {
			return err
		}
	}
}
