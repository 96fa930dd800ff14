package instance

import (
	"context"
	"errors"
	"syscall"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
)

// Destroy removes the object of an entry that is destroying, by this member, and frees its row. A
// failure is logged and leaves the row to be tried again.
func (m *Member) Destroy(ctx context.Context, e control.Entry) error {
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	if err := m.Books.removeObject(ctx, e); err != nil {
		m.Log.Warn().Err(err).Str("object", m.Books.Where(e)).Str("event", "segment-kept").Msg("could not remove a segment; it will be tried again")
		errno, ok := errors.AsType[syscall.Errno](err)
		if !ok || errno == 0 {
			errno = syscall.EIO
		}
		return errors.Join(err, m.retryDestroyLater(e, m.Self.DestroyFailed(ctx, e, uint32(errno))))
	}
	failpoint.Hit("instance/destroy/gone")
	return m.retryDestroyLater(e, m.Self.Destroyed(ctx, e))
}

// retryDestroyLater queues e for another attempt if err says that its row could not be updated, and returns err.
func (m *Member) retryDestroyLater(e control.Entry, err error) error {
	if err != nil {
		m.Self.Owe(e)
	}
	return err
}
