package parallel

import (
	"context"
	"errors"
)

// runAlone has the leader do the work itself.
func (c *crew) runAlone(ctx context.Context, cancel context.CancelCauseFunc, run task) error {
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
	err := containFunction(c.functionName(), func() error { return run(ctx, w, c.arg) })
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
