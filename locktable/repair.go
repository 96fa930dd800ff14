package locktable

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
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

// maxNotes is how many names of a partition keep a note of a death that no holder has asked for. Others are remembered
// by their hashes alone.
const maxNotes = 64

// below is the flag of a note all of whose deaths were in an intent mode: what may be half-written lies below the name.
const below = 1 << 47

// unknown is the note of a death of which nothing is known any more.
const unknown = 1 << 48

const noteBytes = 40

// RepairedAll notes that all that the table guards is whole again after every death so far: no lock tells of a death
// any more. It is for a caller that has looked at everything, and keeps others from holding anything while it looks.
// The table remembers some 6,000 names of which a holder died; once there were more, and until a call of RepairedAll,
// a lock that was not in use tells of a death of which nothing is known.
func (t *Table) RepairedAll(ctx context.Context) error {
	if t.view.Ended() {
		return t.closed()
	}
	for i := range t.parts {
		if err := t.repairedPart(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) repairedPart(ctx context.Context, i int) (err error) {
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, i)
	if err != nil {
		return err
	}
	defer u.leave()
	u.p.lostAll.Store(0)
	for k := range u.p.lost {
		u.p.lost[k].Store(0)
	}
	err = u.eachLocked(func(_ uint32, h *head) error {
		if h.kind.Load() != 0 {
			h.died.Store(0)
		}
		return nil
	})
	u.p.notes.Store(0)
	if err == nil {
		u.markDone()
	}
	return err
}
