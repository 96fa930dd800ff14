package dsa

import (
	"context"
	"errors"
)

// Trim gives back what is empty, however little: spans, whoever has them, and all empty segments but the first.
func (a *Area) Trim(ctx context.Context) error {
	err := a.contained(func() error {
		a.lockStripes()
		defer a.unlockStripes()
		return a.lockAreaAndCall(ctx, func() error {
			if err := a.emptyHeapsLocked(ctx, false); err != nil {
				return err
			}
			if _, err := a.recoverDeadLocked(ctx); err != nil {
				return err
			}
			return errors.Join(a.tidyLocked(ctx), a.takeIdleLocked(ctx, true), a.giveEmptyLocked(ctx))
		})
	})
	return a.after(err)
}

// tidyLocked puts all spans that are nobody's where they belong. The caller holds the area's lock.
func (a *Area) tidyLocked(ctx context.Context) error {
	return a.eachRunLocked(ctx, func(r spanRef, _ int) error { return a.recoverSpanLocked(ctx, r, nobody) })
}
