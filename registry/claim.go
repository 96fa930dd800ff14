package registry

import (
	"context"
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// claim is a row that this session makes: its word is making, by this session.
type claim struct {
	names *names
	sight
}

// noteHandle writes the handle of a new segment into the row, before the segment is pinned: what is to be removed if
// this session dies.
func (c *claim) noteHandle(ctx context.Context, handle uint64) error {
	failpoint.Hit("registry/make/made")
	c.record.handle = handle
	err := c.names.setRow(ctx, c.row, c.word, func(r *record) { r.handle = handle })
	failpoint.Hit("registry/make/noted")
	return err
}

// publish makes the row ready, and notes where in an area the thing is. It goes on after the end of ctx: what is made
// is not thrown away because its maker became impatient. If it fails the row is making still, and the caller discards
// it.
func (c *claim) publish(ctx context.Context, table uint64) error {
	failpoint.Hit("registry/make/done")
	return c.names.setRow(context.WithoutCancel(ctx), c.row, tableWord(tableWordHash(c.word), ready, 0), func(r *record) {
		r.table = table
	})
}

// makeClaimed makes what a row is claimed for. If that fails, panics or ends its goroutine, nothing of it is left, and
// the row is free: that is done in a deferred function, which runs in all three cases. A panic goes on to the caller.
func makeClaimed[X any](ctx context.Context, c *claim, make func(*claim) (X, error)) (x X, err error) {
	done, returned := false, false
	defer func() {
		if !returned {
			log := c.names.session.Config().Logger
			log.Warn().Str("name", tableText(c.record.name[:])).
				Str("event", "make-failed").Msg("registry: what makes a name panicked or ended its goroutine; the name is made by the next who asks")
		}
		if !done { // in a session that has ended, the next call of another one does it
			err = errors.Join(err, ignoreErrKind(c.names.removeOrphans(ctx, c.sight), errkind.Closed))
		}
	}()
	if err = c.names.collectDeletedOrphans(ctx); err == nil {
		x, err = make(c)
	}
	done, returned = err == nil, true
	return x, err
}

// claimRowLocked writes a wish into a free row, which is making then, by this session; ok is false if there is none. The
// caller holds the table's lock, and has seen that the name has no row. The record comes before the word: a process
// that dies in between leaves a free row.
func (n *names) claimRowLocked(w *wish) (s sight, ok bool) {
	i := n.freeLocked()
	if i < 0 {
		return sight{row: -1}, false
	}
	// The whole record is stored, so nothing of the row's last name is left in it, its handle least of all.
	n.records[i] = *w.record()
	failpoint.Hit("registry/claim/written")
	// Noted before the word says so, so that a goroutine that looks for orphans does not take the row for one.
	n.noteWork(i, true)
	n.words[i].Store(tableWord(tableHashOf(w.name), making, n.self.Word()))
	failpoint.Hit("registry/claim/stored")
	return n.sightLocked(i), true
}
