package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
)

// A row that is making or going belongs to the session in its word. If that session is dead, or a stray store has put
// its name there, the row is an orphan: the next session that comes by makes it its own, removes what the row stands
// for, and frees it. A session that dies while it does that leaves an orphan in turn, with nothing more to remove than
// before.

// discardPatience bounds the removal of what a list of rows stands for. Each wait of package dsm on the way is shorter.
const discardPatience = 20 * time.Second

// orphansLocked makes rows of dead sessions, or of none, this session's to discard, and those that name this session
// though no call of it is at work on them. Those without a name it takes only if all are wanted. The caller holds the
// table's lock, and calls discard with what is returned after the section. Whether a session lives the instance is
// asked under the lock, for each row that is making or going, which are few.
func (n *names) orphansLocked(all bool) (list []sight) {
	for i := range n.words {
		w := n.words[i].Load()
		if s := tableWordState(w); s != making && s != going {
			continue
		}
		// Left alone are a row at which a call of this session is at work, one of another session that lives and,
		// unless all are wanted, one without a name.
		p := tableWordPeer(w)
		if p == n.self.Word() && n.isAtWork(i) || p != 0 && p != n.self.Word() && n.peerLives(p) || p == 0 && w == nameless && !all {
			continue
		}
		// The hash stays, so that the name is waited for, not made a second time, until the row is free.
		n.noteWork(i, true)
		n.words[i].Store(tableWord(tableWordHash(w), going, n.self.Word()))
		failpoint.Hit("registry/orphan/adopted")
		list = append(list, n.sightLocked(i))
	}
	return list
}

// collectDeletedOrphans looks after what has been deleted and isn't gone: areas that other sessions had attached, which the
// last of them removes if it is not killed, and what could not be removed at the time. Its error is that of the
// section; what can't be removed now either is no failure of the call that tends.
func (n *names) collectDeletedOrphans(ctx context.Context) error {
	var orphans []sight
	err := n.withTableLock(ctx, func() error {
		orphans = n.orphansLocked(true)
		return nil
	})
	if err == nil {
		_ = n.removeOrphans(ctx, orphans...) // what fails is tried again by the next one
	}
	return err
}

// removeOrphans removes what rows of this session stand for, and frees them. What isn't gone yet, or can't be removed
// now, has no name any more: its row waits for the next call that tends it. It goes on after the end of ctx, for
// discardPatience, so that a caller that gives up leaves no work behind; the end of the session ends it. A process
// that dies after the memory is gone and before the row is free leaves an orphan whose memory is found missing.
func (n *names) removeOrphans(ctx context.Context, list ...sight) (err error) {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardPatience)
	defer cancel()
	// The memory, then the row: as long as the row is there, it leads the next session to what is left of the memory.
	for _, s := range list {
		gone := false
		derr := n.withSession(ctx, func(ctx context.Context) (err error) {
			gone, err = n.removeObject(ctx, &s.record)
			return err
		})
		failpoint.Hit("registry/discard/dropped")
		next, forget := uint64(0), func(*record) {}
		if !gone || derr != nil {
			next, forget = nameless, func(r *record) { clear(r.name[:]) }
		}
		if derr != nil {
			err = errors.Join(err, fmt.Errorf("the name is free, what it stood for can't be removed now: %w", derr))
		}
		err = errors.Join(err, n.setRow(ctx, s.row, next, forget))
		n.noteWork(s.row, false) // what could not be stored is an orphan
	}
	return err
}

// disavowOrphanRows runs when another session waits for a row that names this one: a stray store may have written that. It
// tends all rows, which frees those that name this session and at which no call of it is at work.
func (n *names) disavowOrphanRows() {
	ctx, cancel := context.WithTimeout(n.over, time.Second)
	defer cancel()
	_ = n.collectDeletedOrphans(ctx)
}

// freeOrphanRows frees the rows whose segments have gone: those of transient names, and of what a process has
// removed without the registry. It reads the whole segment table, so it runs only when the table of names is full.
func (n *names) freeOrphanRows(ctx context.Context) error {
	// The rows are read before the segments. A ready row's segment was made before, and no handle is used
	// again: so a handle that is missing from the list that is read later has gone for good.
	var seen []sight
	err := n.withTableLock(ctx, func() error {
		for i := range n.words {
			if tableWordState(n.words[i].Load()) == ready {
				seen = append(seen, n.sightLocked(i))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	there, err := n.session.Segments(ctx)
	if err != nil {
		return err
	}
	// What is live is compared by handle, and remove compares the row once more: it may be another name's by now.
	live := map[uint64]bool{}
	for _, g := range there {
		live[uint64(g.Handle)] = true
	}
	for _, s := range seen {
		if live[s.record.handle] {
			continue
		}
		if _, err := n.freeReadyName(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
