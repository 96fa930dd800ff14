package instance

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/rs/zerolog"
)

// Member is this process's row in an instance's books, with the means to do what the books say: destroy objects, ask
// who lives.
type Member struct {
	Books  *Books
	Self   *control.Member
	Carves bool // Make uses the reserved region
	Log    zerolog.Logger
}

// Join makes this process a member and reclaims dead processes if no supervisor does.
func (b *Books) Join(ctx context.Context, who control.Who, log zerolog.Logger) (*Member, error) {
	self, err := b.Table.Join(ctx, b.Roll, who)
	if err != nil {
		return nil, err
	}
	m := &Member{Books: b, Self: self, Log: log}
	if !b.Supervised() {
		if _, err := m.ReclaimDead(ctx); err != nil {
			log.Warn().Err(err).Str("event", "reclaim-refused").Msg("could not reclaim dead sessions; another process will")
		}
	}
	return m, m.Settle(ctx)
}

// JoinSupervisor makes this process the supervisor's member. The caller holds the directory's lock.
func (b *Books) JoinSupervisor(ctx context.Context, who control.Who, log zerolog.Logger) (*Member, error) {
	self, err := b.Table.JoinSupervisor(ctx, b.Roll, who)
	if err != nil {
		return nil, err
	}
	m := &Member{Books: b, Self: self, Log: log}
	return m, m.Settle(ctx)
}

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
		return errors.Join(err, m.retryLater(e, m.Self.DestroyFailed(ctx, e, uint32(errno))))
	}
	failpoint.Hit("instance/destroy/gone")
	return m.retryLater(e, m.Self.Destroyed(ctx, e))
}

// retryLater queues e for another attempt if err says that its row could not be updated, and returns err.
func (m *Member) retryLater(e control.Entry, err error) error {
	if err != nil {
		m.Self.Owe(e)
	}
	return err
}

// Settle destroys what fell to this member by reclaim.
func (m *Member) Settle(ctx context.Context) error {
	entries, err := m.Self.Owed(context.WithoutCancel(ctx))
	for _, e := range entries {
		_ = m.Destroy(ctx, e) // logged
	}
	return err
}

// Leave gives everything back, frees the row and drops the witness. The books stay mapped. If the control lock is
// unavailable while ctx lasts, or the books can't be written any more, the row is left as a dead session's, which a
// reclaim frees.
func (m *Member) Leave(ctx context.Context) error {
	err := m.leave(ctx)
	failpoint.Hit("instance/leave/left")
	return errors.Join(err, m.Books.Roll.Drop(m.Self.Row()))
}

func (m *Member) leave(ctx context.Context) error {
	if !m.Books.Supervised() && !m.Books.Table.Closing() {
		if _, err := m.ReclaimDead(ctx); err != nil {
			m.Log.Warn().Err(err).Str("event", "reclaim-refused").Msg("could not reclaim dead sessions; another process will")
		}
	}
	if err := m.Self.ReleaseAll(ctx); err != nil {
		return err
	}
	failpoint.Hit("instance/leave/released")
	for range 100 {
		if err := m.Settle(ctx); err != nil {
			return err
		}
		if done, err := m.Self.Leave(ctx); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("this session is still at work on segments")
}
