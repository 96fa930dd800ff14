package parallel

import (
	"context"
	"errors"
	"fmt"
)

// runInLeader has the leader do the work itself.
func (c *crew) runInLeader(ctx context.Context, cancel context.CancelCauseFunc, run task) error {
	w := &Worker{Count: 1, Session: c.session, Owner: c.owner, Log: c.session.Config().Logger,
		Files: c.options.Files}
	w.connect(func(_ context.Context, kind byte, b []byte) (err error) {
		if c.session.Err() != nil {
			return errLeft
		}
		defer func() {
			if failed := c.keepFailure(err); failed != nil {
				cancel(failed)
			}
		}()
		return c.handleMessage(0, append([]byte{kind}, b...), &c.failed)
	})
	err := contained(c.function(), func() error { return run(ctx, w, c.arg) })
	if _, is := errors.AsType[abnormal](err); is {
		err = &Error{Text: err.Error()}
	}
	if err != nil && ctx.Err() != nil && c.session.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	if failed := c.keepFailure(nil); failed != nil && !errors.Is(err, failed) {
		err = errors.Join(failed, err)
	}
	return err
}

// function names the task's function in errors.
func (c *crew) function() string { return functionOf(c.task) }

func functionOf(task string) string { return fmt.Sprintf("the function of task %q", task) }

// keepFailure keeps the first error of a callback that the leader, working alone, has called for itself, and returns it.
func (c *crew) keepFailure(err error) error {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.failed == nil && err != errReturned {
		c.failed = err
	}
	return c.failed
}

// endSession lets no callback begin any more.
func (c *crew) endSession() {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	c.over = true
}
