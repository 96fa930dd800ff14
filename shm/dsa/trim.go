package dsa

import (
	"context"
	"errors"
)

// Trim gives back what is empty, however little: spans, whichever session has them, and all empty segments but the
// first, also those that Options.Keep would keep. It recovers dead sessions first. Objects do not move, so a span with
// one object stays.
//
// It waits for the calls of this package that are in flight in this process, and lets none begin; for the area's lock
// it waits for at most 10 seconds or until ctx ends. Then it walks the whole area, while other sessions wait for the
// lock if they need it. If a segment cannot be given back its error is returned, and the rest is done.
func (a *Area) Trim(ctx context.Context) error {
	err := a.contained(func() error {
		a.lockStripes()
		defer a.unlockStripes()
		return a.withLock(ctx, func() error {
			if err := a.releaseHeapsLocked(ctx, false); err != nil {
				return err
			}
			if _, err := a.recoverDeadLocked(ctx); err != nil {
				return err
			}
			return errors.Join(a.relistAllSharedLocked(ctx), a.takeIdleSpansLocked(ctx, true), a.returnEmptySegmentsLocked(ctx))
		})
	})
	return a.unmapAfter(err)
}
