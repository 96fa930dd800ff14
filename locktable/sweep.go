package locktable

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// sweep gives back what a session that is dead, or closes, has of the table: its holds, with a note where it may have
// been writing, its waits and pins. It may be cut short, or be done by two sessions at once.
func (t *Table) sweep(ctx context.Context, dead shmsync.Peer) error {
	for i := range t.parts {
		if err := t.sweepPart(ctx, i, dead); err != nil {
			return err
		}
	}
	return nil
}

// sweepDead sweeps the sessions of those rows that are dead, for a waiter that they are in the way of: until ctx is
// over, and for a second at most.
func (t *Table) sweepDead(ctx context.Context, rows []int) {
	if len(rows) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, row := range rows {
		var who shmsync.Peer
		var ok bool
		_ = t.withOwnRecords(func() { who, _, ok = t.roster.Seat(row) })
		if ok && who != t.self.Peer && !t.self.Alive(who) {
			_ = t.sweep(ctx, who)
		}
	}
}

// sweepPart sweeps one partition. It takes the lock of that by lockPart. It does nothing if the dead session's row is
// another's by now.
func (t *Table) sweepPart(ctx context.Context, i int, dead shmsync.Peer) (err error) {
	defer fault.Return(&err, fault.Catch())
	seated := func() (who shmsync.Peer, s *seat) {
		lease, err := t.mapped.Enter()
		if err == nil {
			defer lease.Leave()
			who, s, _ = t.roster.Seat(dead.Row)
		}
		return who, s
	}
	who, s := seated()
	if t.mapped.Ended() {
		return t.closed()
	}
	if s == nil || who != dead {
		return nil // swept long ago: the row is another session's
	}
	u, err := t.lockPart(ctx, i)
	if err != nil {
		return err
	}
	defer u.leave()
	if who, _ := seated(); who != dead {
		u.markDone()
		return nil
	}
	if u.p.notes.Load() > 0 { // Repaired does not count, since it does without the partition's lock
		err = u.countNotesLocked()
	}
	if err != nil {
		return err
	}
	err = u.eachLocked(func(n uint32, h *head) error {
		if h.kind.Load() == 0 || h.lock.Empty() && waitqueue.Hold(h.lock.Word.Load()).Row() != dead.Row {
			return nil
		}
		u.queue(h, n).SweepLocked(dead.Row, rowOf, func(m Mode, owner uint32) {
			if m.Writes() {
				u.noteDeathLocked(h, n, dead, s, owner, m)
			}
		})
		failpoint.Hit("locktable/sweep/swept")
		u.callWaiters()
		return nil
	})
	if err == nil {
		u.markDone()
	}
	return err
}

// sweepSoon sweeps a session that has died: now, if that takes no longer than a second, else in a goroutine.
func (t *Table) sweepSoon(dead shmsync.Peer) {
	in := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return t.sweep(ctx, dead) == nil || t.view.Ended()
	}
	if in() {
		return
	}
	fault.Go(func() {
		for !in() {
			time.Sleep(100 * time.Millisecond) // sweep may fail at once
		}
	})
}
