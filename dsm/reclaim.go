package dsm

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// reclaimDead does what a supervisor would, if none lives and no session does in a lower row, since one is enough: it
// reclaims dead sessions, and replaces a members file that was removed. It waits at most a second for the control lock;
// what fails is tried again a second later.
func (s *Session) reclaimDead(ctx context.Context) {
	m := s.member
	if m.Books.Supervised() || m.Books.Table.Closing() || !m.Foremost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := m.RenewMembers(ctx); err != nil {
		s.log.Debug().Err(err).Str("event", "members-refused").Msg("another members file can't come in the place of one that was removed; it is tried again")
	}
	if n, err := m.ReclaimDead(ctx); err != nil {
		s.log.Warn().Err(err).Str("event", "reclaim-refused").Msg("dead sessions can't be reclaimed now; it is tried again")
	} else if n > 0 {
		// A death here leaves segments that are destroying by this session: the session that reclaims it removes them.
		failpoint.Hit("dsm/look/reclaimed")
	}
	s.destroyOwed()
}

// destroyOwed removes the segments that fell to this session when it reclaimed another. It costs one load if there are
// none. What fails is tried again by the supervisor, or at Close.
func (s *Session) destroyOwed() {
	if s.member.Self.Owes() {
		_ = s.member.Settle(context.Background()) // what fails is tried again, by the supervisor or at Close
	}
}
