package instance

import (
	"context"

	"github.com/godsm/godsm/control"
)

// Reclaim reclaims one session, if it is dead; its references and row are back when it returns.
// What falls to this member then waits for Settle.
func (m *Member) Reclaim(ctx context.Context, p control.ProcessInfo) (done bool, err error) {
	if now := m.Books.Table.Process(p.Row); now.Incarnation == p.Incarnation { // what it has held since it was first seen
		p = now
	}
	if done, err = m.Self.Reclaim(ctx, p.Row, p.Incarnation); done {
		m.Log.Info().Int("pid", p.Pid).Str("application", p.Application).Int("segments", p.Segments).
			Str("event", "session-reclaimed").Msg("reclaimed what a dead process held")
	}
	return done, err
}

// ReclaimDead reclaims every session whose witness is free, and returns how many.
func (m *Member) ReclaimDead(ctx context.Context) (n int, err error) {
	list, err := m.Books.Table.Processes()
	if err != nil {
		return 0, err
	}
	held := m.Books.Held(list)
	for i, p := range list {
		if p.Row == m.Self.Row() || held[i] {
			continue
		}
		done, err := m.Reclaim(ctx, p)
		if err != nil {
			return n, err
		}
		if done {
			n++
		}
	}
	return n, nil
}
