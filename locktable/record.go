package locktable

import (
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// voidRecord makes a record of this session count for nothing, unless the table has ended.
func (t *Table) voidRecord(rec *waitqueue.Record) error {
	return t.withOwnRecords(func() { rec.Word.Store(uint64(rec.State().With(waitqueue.Gone))) })
}

// unlinkRecordSoon takes a record, whose word says that it counts for nothing, off the list of the head, which the
// record keeps until then.
func (t *Table) unlinkRecordSoon(part int, h *head, n uint32, ref roster.Ref, rec *waitqueue.Record, wait time.Duration) {
	t.withPartSoon(part, nil, wait, func(u *turn, _ []byte) { u.unlinkRecordLocked(h, n, ref, rec) })
}

// unlinkRecordLocked takes a record, whose word says that it counts for nothing, off its list, and calls who can have
// the lock then. It runs under the partition's lock.
func (u *turn) unlinkRecordLocked(head *head, n uint32, ref roster.Ref, rec *waitqueue.Record) {
	q := u.queue(head, n)
	q.LeaveLocked(rec)
	failpoint.Hit("locktable/end/unlisted")
	rec.Word.Store(0)
	u.callWaiters()
	u.t.roster.Give(ref)
}

// recordLocked puts a record of this session beside the head of the turn's queue. It runs under the partition's lock.
func (u *turn) recordLocked(s waitqueue.State, ticket uint64, bit uint32) (roster.Ref, *waitqueue.Record, error) {
	ref, rec, err := u.t.roster.Take()
	if err != nil {
		return 0, nil, err
	}
	rec.Head.Store(u.q.Key)
	rec.Ticket.Store(ticket)
	rec.Since.Store(u.q.Now)
	rec.Bit.Store(bit)
	rec.Extra.Store(0)
	failpoint.Hit("locktable/record/written")
	rec.Word.Store(uint64(s))
	failpoint.Hit("locktable/record/stored")
	u.q.EnterLocked(waitqueue.Ref(ref), rec)
	return ref, rec, nil
}

// recordAt returns the record that ref names, nil if there is none.
func (t *Looker) recordAt(ref waitqueue.Ref) *waitqueue.Record {
	r, err := t.roster.At(roster.Ref(ref))
	if err != nil {
		return nil
	}
	return r
}
