package dsa

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
)

// corrupt returns an error that matches ErrCorrupt, for shared bytes that no session of this package has written so.
func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dsa: "+format, args...))
}

// errWaitedTooLong returns the cause of a wait that has reached its bound.
func errWaitedTooLong(most time.Duration) error {
	return fmt.Errorf("another session has held it for %v, the bound of Area.SetWait: %w", most, context.DeadlineExceeded)
}
