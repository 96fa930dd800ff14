package instance

import (
	"context"
	"errors"
	"fmt"

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

// stillBusy returns what a closing instance still waits for, empty if it waits for nothing.
func (m *Member) stillBusy(sessions bool) (what string, err error) {
	rows, err := m.Books.Table.Unfinished()
	if err != nil || rows > 0 {
		return fmt.Sprintf("%d segments are still being made or removed", rows), err
	}
	if living, err := m.Books.Living(); sessions && (err != nil || living > 0) {
		return fmt.Sprintf("%d sessions have not left", living), err
	}
	return "", nil
}

// Foremost reports whether no session lives in a row below the member's.
func (m *Member) Foremost() bool {
	list, err := m.Books.Table.Processes()
	for _, p := range list {
		if p.Row > control.SupervisorRow && p.Row < m.Self.Row() && m.Books.Roll.Held(p.Row) {
			return false
		}
	}
	return err == nil
}
