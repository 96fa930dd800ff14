package locktable

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// repairLocked makes all that is derived in the partition anew, after a death with its lock: the lists of records, the
// index, the free list. What it does is the same if it is done twice. It runs under the partition's lock, as all
// below.
func (u *turn) repairLocked() error {
	u.p.epoch.Add(1)
	clear(u.pages)
	u.epoch, u.buckets = u.p.epoch.Load(), index{}
	if err := u.placeOrFreePageLocked(); err != nil {
		return err
	}
	records := map[uint32][]waitqueue.Ref{}
	for row := range u.t.roster.Rows() {
		for ref, r := range u.t.roster.Each(row) {
			s := r.State()
			if s.Kind() == waitqueue.Free || s.Kind() == waitqueue.Note {
				continue
			}
			if of := r.Head.Load(); of>>32 == uint64(u.i) && r.State() == s {
				records[uint32(of)] = append(records[uint32(of)], waitqueue.Ref(ref))
			}
		}
	}
	err := u.eachLocked(func(n uint32, h *head) error {
		if h.kind.Load() == 0 {
			if err := u.dropLocked(n, longAt, &h.long); err != nil {
				return err
			}
			return u.dropLocked(n, epitaphAt, &h.epitaph)
		}
		q := u.queue(h, n)
		q.RelinkLocked()
		for _, ref := range records[n] {
			q.EnterLocked(ref, u.t.recordAt(ref))
		}
		u.callWaiters()
		failpoint.Hit("locktable/repair/relinked")
		return nil
	})
	if err != nil {
		return err
	}
	if err := u.rebuildIndexLocked(); err != nil {
		return err
	}
	u.p.dirty.Store(0)
	return nil
}

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

// sweepPart sweeps one partition, whose lock it takes by lockPart. It does nothing if the dead session's row is
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

// noteDeathLocked notes that a session died with a head's lock in a mode that writes. That counts as a change, too.
func (u *turn) noteDeathLocked(h *head, n uint32, dead shmsync.Peer, s *seat, owner uint32, m Mode) {
	h.changed.Store(u.t.root.stamp.Add(1))
	was := h.died.Load()
	if was == 0 {
		u.p.notes.Add(1)
		b := binary.LittleEndian.AppendUint64(nil, s.pid.Load())
		b = append(b, padText(loadText(s.app[:]))...)
		b = append(b, padText(u.t.noteOf(dead.Row, owner))...)
		_ = u.storeLocked(n, epitaphAt, b) // without room for it there is a note all the same
		was = dead.Word() | below
	}
	if m != IntentExclusive {
		was &^= below
	}
	h.died.Store(was&(1<<48-1) | min(was>>48+1, 1<<16-1)<<48)
	failpoint.Hit("locktable/mourn/noted")
	if u.p.notes.Load() > maxNotes && h.lock.Empty() {
		u.rememberLostNoteLocked(h.ident.Load())
		h.died.Store(0)
		u.p.notes.Add(^uint32(0))
	}
}

// maxNotes is how many names of a partition keep a note of a death that no holder has asked for. Others are remembered
// by their hashes alone.
const maxNotes = 64

// below is the flag of a note all of whose deaths were in an intent mode: what may be half-written lies below the name.
const below = 1 << 47

// unknown is the note of a death of which nothing is known any more.
const unknown = 1 << 48

// rememberLostNoteLocked remembers the hash of a name whose note of a death is forgotten. It runs under the
// partition's lock.
func (u *turn) rememberLostNoteLocked(ident uint64) {
	for i := range u.p.lost {
		if u.p.lost[i].Load() == 0 {
			u.p.lost[i].Store(max(ident, 1))
			return
		}
	}
	u.p.lostAll.Store(1)
}

// mayHaveLostNoteLocked reports whether the note of a name's death may have been forgotten. It runs under the
// partition's lock.
func (u *turn) mayHaveLostNoteLocked(ident uint64) bool {
	any, l := uint64(0), &u.p.lost
	for i := 0; i+5 < lostNotes; i += 6 { // seldom any, so that is asked first, for many at a time
		any |= l[i].Load() | l[i+1].Load() | l[i+2].Load() | l[i+3].Load() | l[i+4].Load() | l[i+5].Load()
	}
	if any == 0 {
		return u.p.lostAll.Load() != 0
	}
	for i := range u.p.lost {
		if u.p.lost[i].Load() == max(ident, 1) {
			u.p.lost[i].Store(0)
			return true
		}
	}
	return u.p.lostAll.Load() != 0
}

const noteBytes = 40

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
