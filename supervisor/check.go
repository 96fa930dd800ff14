package supervisor

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/dsm"
)

// Check asks the watcher for an answer, and returns nil when it has given one: it has just looked at the sessions of
// which it had news, and waits for more. While the watcher does something else, such as ending a generation, waiting
// for the control lock for up to a second, or trying to begin a generation, Check waits for it: an answer that does
// not come before the context ends is the context's error. It is ErrNoInstance when the supervisor has ended. A
// service manager's watchdog and a health check are to ask it.
func (s *Supervisor) Check(ctx context.Context) error {
	if s.dir == nil {
		return fail("check", errUnstarted)
	}
	select {
	case s.checks <- struct{}{}:
		return nil
	case <-s.done:
		return fail("check", fmt.Errorf("%w: the supervisor has ended", dsm.ErrNoInstance))
	case <-ctx.Done():
		return fail("check", fmt.Errorf("the watcher has not answered: %w", context.Cause(ctx)))
	}
}
