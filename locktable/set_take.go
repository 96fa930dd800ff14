package locktable

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/waitqueue"
)

// takeLocked takes all members, or none, and reports which. It runs under the lock of each member's partition.
func (s *set) takeLocked() (in bool, err error) {
	s.rows = s.rows[:0]
	at := 0
	for ; at < len(s.members); at++ {
		m := s.members[at]
		u := m.u
		if m.rec == nil {
			if m.h.head, m.h.n, err = u.lookupLocked(m.h.key.b, m.h.ident); err == nil && m.h.head == nil {
				m.h.head, m.h.n, err = u.makeLocked(m.h.key.b, m.h.ident)
			}
		}
		if err != nil || !s.takeOneLocked(u, m) {
			s.failed = m
			break
		}
	}
	if at == len(s.members) {
		for _, m := range s.members {
			s.enterLocked(m)
		}
		return true, nil
	}
	for _, m := range s.members[:at] {
		u := m.u
		u.queue(m.h.head, m.h.n)
		m.h.head.lock.Give(m.h.word)
		m.h.word, m.h.alone = 0, false
		if m.h.rec != nil && m.rec != nil { // it waits again
			m.rec.Word.Store(uint64(m.rec.State().With(waitqueue.Waiting)))
		} else if m.h.rec != nil {
			m.h.rec.Word.Store(uint64(m.h.rec.State().With(waitqueue.Gone)))
			u.unlinkRecordLocked(m.h.head, m.h.n, m.h.ref, m.h.rec)
		}
		m.h.rec = nil
		u.callWaiters()
	}
	return false, err
}

// takeOneLocked takes one member, if it is free for the set, and reports whether it has. It runs under the lock of the
// member's partition.
func (s *set) takeOneLocked(u *turn, m *member) bool {
	t, h := s.t, m.h
	word := waitqueue.HoldOf(t.self.Row, h.mode, h.number(), t.number())
	if m.rec == nil && h.head.lock.TryTake(word) {
		h.word, h.alone = word, true
		failpoint.Hit("locktable/many/taken")
		return true
	}
	q := u.queue(h.head, h.n)
	q.SlowLocked()
	if m.rec != nil {
		q.ComeLocked(m.rec)
	}
	switch {
	case !q.FitsLocked(h.mode, waitqueue.Ref(m.ref), 0):
		q.WantLocked(h.mode, 0, rowOf, func(row int) { s.rows = append(s.rows, row) })
		u.callWaiters()
		return false
	case q.PlaceLocked(word):
		h.word = word
	case m.rec != nil:
		h.ref, h.rec = m.ref, m.rec
		m.rec.Since.Store(q.Now)
		m.rec.Word.Store(uint64(m.rec.State().With(waitqueue.Held)))
	default:
		var err error
		if h.ref, h.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Held, h.mode, h.number(), t.number()),
			t.root.tickets.Add(1), 0); err != nil {
			u.callWaiters()
			return false
		}
	}
	failpoint.Hit("locktable/many/granted")
	u.callWaiters()
	return true
}

// enterLocked makes a member that was taken a hold. It runs under the lock of the member's partition.
func (s *set) enterLocked(m *member) {
	h := m.h
	if m.rec != nil && h.rec == nil { // in place: the waiter's record goes
		u := m.u
		u.queue(h.head, h.n)
		m.rec.Word.Store(uint64(m.rec.State().With(waitqueue.Gone)))
		u.unlinkRecordLocked(h.head, h.n, m.ref, m.rec)
	}
	m.rec = nil
	h.lease, _ = s.t.mapped.Enter()
}

// queueLocked puts the set into the queue of each member. It runs under the lock of each member's partition.
func (s *set) queueLocked() error {
	s.bit.take(s.t)
	ticket := uint64(0)
	for _, m := range s.members {
		if m.rec != nil {
			continue
		}
		if ticket == 0 {
			ticket = s.t.root.tickets.Add(1)
		}
		u := m.u
		head, n, err := u.lookupLocked(m.h.key.b, m.h.ident)
		if err == nil && head == nil {
			head, n, err = u.makeLocked(m.h.key.b, m.h.ident)
		}
		if err != nil {
			return err
		}
		m.h.head, m.h.n = head, n
		q := u.queue(head, n)
		q.SlowLocked()
		m.ref, m.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Waiting, m.h.mode, m.h.number(), s.t.number())|
			waitqueue.Several, ticket, s.bit.number())
		if err != nil {
			m.rec = nil
			u.callWaiters()
			return err
		}
		failpoint.Hit("locktable/many/queued")
		q.WantLocked(m.h.mode, 0, rowOf, func(int) {})
		u.callWaiters()
	}
	return nil
}

// cancel takes the set out of all queues.
func (s *set) cancel() {
	for _, m := range s.members {
		if m.rec == nil {
			continue
		}
		rec, ref, head, n := m.rec, m.ref, m.h.head, m.h.n
		m.rec = nil
		if s.t.voidRecord(rec) != nil {
			continue
		}
		s.t.unlinkRecordSoon(m.h.partition(), head, n, ref, rec, 0)
	}
}
