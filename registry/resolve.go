package registry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/shmsync"
)

// From a name to its row, and from a row to nothing. This file decides which session works on a row; it does not make or
// remove what the name stands for (make.go, orphans.go).

// resolveOrClaim returns the name's row when it is ready. If there is none, it claims one for w; then claimed is true,
// and the row this session's to make. Without w that is ErrNotFound. A table without a free row is ErrFull.
//
// A row that another session is at work on is waited for until ctx is over, or the session; the error of that names the
// other session. If that dies, the row is taken over here, what it stood for is removed, and the search begins again.
// The answer is a copy: by the time that it is used the row may be free, which the caller finds out when it attaches.
func (n *names) resolveOrClaim(ctx context.Context, name string, w *wish) (s sight, claimed bool, err error) {
	if err := checkName(name); err != nil {
		return s, false, err
	}
	swept := false
	var asked time.Time
	wait := waits.Wait{Waits: n.self.Waits}
	defer wait.End()
	for asked = time.Now().Add(askFirst - askEvery); ; {
		var ticket shmsync.Ticket
		var orphans []sight
		err := n.withTableLock(ctx, func() error {
			// The ticket is taken in the section that has seen the row, so no news between the look and the sleep is
			// lost.
			i := n.findLocked(name)
			if i < 0 || tableWordState(n.words[i].Load()) != ready {
				ticket = n.header.news.Prepare()
				orphans = n.orphansLocked(false)
			}
			if s = n.sightLocked(i); i < 0 && w != nil {
				s, claimed = n.claimRowLocked(w)
			}
			return nil
		})
		if err != nil {
			return s, false, err
		}
		_ = n.removeOrphans(ctx, orphans...) // what fails is tried again by the next call that tends
		switch {
		case claimed, s.row >= 0 && tableWordState(s.word) == ready:
			return s, claimed, nil
		case s.row < 0 && w == nil:
			return s, false, errNoName
		case s.row < 0 && !swept: // the table is full, perhaps of names whose segments have gone
			swept = true
			if err := n.freeOrphanRows(ctx); err != nil {
				return s, false, err
			}
			continue
		case s.row < 0:
			return s, false, errkind.As(ErrFull,
				fmt.Errorf("all %d rows for names (max_segments) are in use", len(n.words)))
		case slices.ContainsFunc(orphans, func(o sight) bool { return o.row == s.row }):
			continue // the name's own row was an orphan, and is free now
		}
		// Another session is at work on the row, or another goroutine of this one. It is waited for until it is
		// through, or dead; the wait ends for each news, and the section looks again.
		maker := tableWordPeer(s.word)
		if now := time.Now(); now.Sub(asked) > askEvery && n.self.Ask != nil {
			asked = now
			n.self.Ask(shmsync.PeerOf(maker))
		}
		wait.Sleep(ctx, func(short context.Context, d time.Duration) { err = n.await(ctx, short, ticket, d) }, maker)
		if err != nil {
			return s, false, fmt.Errorf("it is being made or deleted by %s: %w", n.self.Name(shmsync.PeerOf(maker)), err)
		}
	}
}
