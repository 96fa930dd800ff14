package registry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/shmsync"
)

// From a name to its row, and from a row to nothing. This file decides which session works on a row; it does not make or
// remove what the name stands for (make.go, orphans.go).

// findOrClaim returns the name's row when it is ready. If there is none, it claims one for w; then claimed is true,
// and the row this session's to make. Without w that is ErrNotFound. A table without a free row is ErrFull.
//
// A row that another session is at work on is waited for until ctx is over, or the session; the error of that names the
// other session. If that dies, the row is taken over here, what it stood for is removed, and the search begins again.
// The answer is a copy: by the time that it is used the row may be free, which the caller finds out when it attaches.
func (n *names) findOrClaim(ctx context.Context, name string, w *wish) (s sight, claimed bool, err error) {
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
			if i < 0 || stateOf(n.words[i].Load()) != ready {
				ticket = n.header.news.Prepare()
				orphans = n.orphansLocked(false)
			}
			if s = n.sightLocked(i); i < 0 && w != nil {
				s, claimed = n.claimLocked(w)
			}
			return nil
		})
		if err != nil {
			return s, false, err
		}
		_ = n.removeOrphans(ctx, orphans...) // what fails is tried again by the next call that tends
		switch {
		case claimed, s.row >= 0 && stateOf(s.word) == ready:
			return s, claimed, nil
		case s.row < 0 && w == nil:
			return s, false, errNoName
		case s.row < 0 && !swept: // the table is full, perhaps of names whose segments have gone
			swept = true
			if err := n.freeGoneRows(ctx); err != nil {
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
		maker := peerOf(s.word)
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

// claimLocked writes a wish into a free row, which is making then, by this session; ok is false if there is none. The
// caller holds the table's lock, and has seen that the name has no row. The record comes before the word: a process
// that dies in between leaves a free row.
func (n *names) claimLocked(w *wish) (s sight, ok bool) {
	i := n.freeLocked()
	if i < 0 {
		return sight{row: -1}, false
	}
	// The whole record is stored, so nothing of the row's last name is left in it, its handle least of all.
	n.records[i] = *w.record()
	failpoint.Hit("registry/claim/written")
	// Noted before the word says so, so that a goroutine that looks for orphans does not take the row for one.
	n.noteWork(i, true)
	n.words[i].Store(wordOf(hashName(w.name), making, n.self.Word()))
	failpoint.Hit("registry/claim/stored")
	return n.sightLocked(i), true
}

// freeReady frees a ready row and what it stands for, if it is still the one that was seen; ok is false if it is not,
// and then nothing has changed. Word and handle are compared: of one name deleted and made anew the word is the same.
// A process that dies after the word is stored leaves a row that is going by a dead session, which the next call takes
// over.
func (n *names) freeReady(ctx context.Context, s sight) (ok bool, err error) {
	err = n.withTableLock(ctx, func() error {
		if ok = n.words[s.row].Load() == s.word && n.records[s.row].handle == s.record.handle; ok {
			n.noteWork(s.row, true)
			n.words[s.row].Store(wordOf(hashOf(s.word), going, n.self.Word()))
			failpoint.Hit("registry/remove/stored")
		}
		return nil
	})
	if ok && err == nil {
		err = n.removeOrphans(ctx, s)
	}
	return ok, err
}

// deleteName takes a name away. It first tends what earlier deletes have left, as making and listing do.
func (n *names) deleteName(ctx context.Context, name string) error {
	if err := n.collectDeleted(ctx); err != nil {
		return err
	}
	for {
		s, _, err := n.findOrClaim(ctx, name, nil)
		if err != nil {
			return err
		}
		// Between the look and the removal another session may delete the name, and a third one make it anew: then the
		// row is looked for again.
		if ok, err := n.freeReady(ctx, s); ok || err != nil {
			return err
		}
	}
}
