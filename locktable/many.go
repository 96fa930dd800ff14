package locktable

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Want is one lock of several.
type Want struct {
	Mode Mode
	Path []string
}

// Holds are the locks of a LockMany, in the order in which they were asked for. A lock that was asked for twice is there
// twice, and is given back when both are.
type Holds []Hold

// Unlock gives all back, and returns the first error.
func (hs Holds) Unlock() (err error) {
	for _, h := range slices.Backward(hs) {
		if e := h.Unlock(); err == nil {
			err = e
		}
	}
	return err
}

// LockMany locks several names, all or nothing: while it waits it holds none of them, so two of them never wait for each
// other, in whatever order their names are. A name that is given twice is locked once, in a mode that covers both. Others
// may take single names of it while it waits for further ones; after a second it keeps its place in every queue.
//
// An owner that holds something already can be in a cycle, as with Lock.
func (t *Table) LockMany(ctx context.Context, wants ...Want) (Holds, error) {
	return t.many(ctx, wants, false)
}

// TryLockMany is LockMany for one that does not wait, as TryLock is of Lock.
func (t *Table) TryLockMany(ctx context.Context, wants ...Want) (Holds, error) {
	return t.many(ctx, wants, true)
}

// set is the locks of one LockMany.
type set struct {
	t       *Table
	members []*member // by hash, and so by partition
	scope   *scope
	bit     bit
	turns   []*turn // by partition; those that are not locked are nil
	rows    []int   // that are in the way
	began   time.Time
	told    bool
	check   time.Time // when a cycle is looked for next
	failed  *member   // that the last try failed at
}

// member is one of the names.
type member struct {
	h   *hold
	u   *turn // while the partitions are locked
	nth int   // of the wants, at first
	out bool  // its hold has been given out
	ref roster.Ref
	rec *waitqueue.Record // of the waiter; nil: it is in no queue
}

func (t *Table) many(ctx context.Context, wants []Want, try bool) (hs Holds, err error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	s := &set{t: t, scope: t.scopeOf(ctx)}
	of, err := s.gather(wants)
	if err == nil {
		err = s.admit()
	}
	if err == nil {
		err = s.lock(ctx, try)
	}
	if err != nil {
		for _, m := range s.members {
			m.h.dropAbove()
			m.h.recycle()
		}
		return nil, err
	}
	for _, m := range s.members {
		m.h.owner.add(m.h)
		for i := range m.h.key.n - 1 { // what is below a name that is asked for itself rests on that hold
			if p := s.memberOf(m.h.key.parent(i + 1)); p != nil {
				p.h.count.Add(1)
				m.h.above[i].hold = p.h
			}
		}
	}
	hs = make(Holds, 0, len(wants))
	for _, at := range of {
		m := s.members[at]
		h := m.h
		if m.out { // one more use of the same
			h = t.pool.Get().(*hold)
			h.key, h.ident, h.mode, h.owner, h.under = m.h.key, m.h.ident, m.h.mode, m.h.owner, m.h
			m.h.count.Add(1)
		}
		m.out = true
		hs = append(hs, Hold{h, h.seq.Load()})
	}
	return hs, nil
}

// gather makes the members, and says which one each want is.
func (s *set) gather(wants []Want) (of []int, err error) {
	room := make([]member, len(wants))
	s.members = make([]*member, 0, len(wants))
	for i, w := range wants {
		if w.Mode < IntentShared || w.Mode > Exclusive {
			return nil, invalid("mode %d", w.Mode)
		}
		h := s.t.pool.Get().(*hold)
		room[i] = member{h: h, nth: i}
		s.members = append(s.members, &room[i])
		if h.key, err = encode(h.buf[:0], w.Path); err != nil {
			return nil, err
		}
		h.ident, h.mode = hash(h.key.b, s.t.seed), w.Mode
	}
	slices.SortFunc(s.members, func(a, b *member) int {
		if a.h.ident != b.h.ident {
			return cmp.Compare(a.h.ident, b.h.ident)
		}
		return bytes.Compare(a.h.key.b, b.h.key.b)
	})
	of = make([]int, len(wants))
	n, deep := 0, false
	for _, m := range s.members {
		deep = deep || m.h.key.n > 1
		if n > 0 && s.members[n-1].h.ident == m.h.ident && bytes.Equal(s.members[n-1].h.key.b, m.h.key.b) {
			s.members[n-1].h.mode = s.members[n-1].h.mode.Join(m.h.mode)
			m.h.recycle()
		} else {
			s.members[n] = m
			n++
		}
		of[m.nth] = n - 1
	}
	s.members = s.members[:n]
	for _, m := range s.members { // a parent that is asked for itself is held in a mode that covers what its children need, too
		for k := 1; k < m.h.key.n && deep; k++ {
			if p := s.memberOf(m.h.key.parent(k)); p != nil {
				p.h.mode = p.h.mode.Join(m.h.mode.Intent())
			}
		}
	}
	return of, nil
}

// memberOf returns the member of a name, nil if there is none.
func (s *set) memberOf(k key) *member {
	ident := hash(k.b, s.t.seed)
	i, _ := slices.BinarySearchFunc(s.members, ident, func(m *member, ident uint64) int { return cmp.Compare(m.h.ident, ident) })
	for ; i < len(s.members) && s.members[i].h.ident == ident; i++ {
		if bytes.Equal(s.members[i].h.key.b, k.b) {
			return s.members[i]
		}
	}
	return nil
}

// admit looks that the owner does not wait for itself.
func (s *set) admit() error {
	if s.scope == nil {
		return nil
	}
	for _, m := range s.members {
		under, err := s.scope.admit(m.h.key, m.h.mode)
		if err == nil && under != nil {
			under.drop()
			err = &WaitError{Name: m.h.key.String(), Mode: m.h.mode, Err: ErrSelf}
		}
		if err != nil {
			return err
		}
		m.h.owner = s.scope.owner
	}
	return nil
}

// lock tries until it has all.
func (s *set) lock(ctx context.Context, try bool) error {
	defer s.bit.release()
	s.began = time.Now()
	s.check = s.began.Add(s.t.o.DeadlockAfter)
	for {
		in, err := s.attempt(ctx, try)
		switch {
		case in:
			return nil
		case err != nil:
		case s.t.view.Ended():
			err = s.t.closed()
		case try:
			err = ErrHeld
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		}
		if err == nil {
			s.t.sweepDead(s.rows)
			var cycle []Edge
			if after := s.t.o.DeadlockAfter; after > 0 && !time.Now().Before(s.check) {
				s.check = time.Now().Add(4 * after)
				if cycle = s.t.deadlock(s.failed.h.number(), s.owns); cycle != nil {
					s.cancel()
					return s.explain(ErrDeadlock, cycle)
				}
			}
			if time.Since(s.began) >= tellAfter && !s.told && s.t.o.OnWait != nil {
				s.told = true
				s.t.tell(s.explain(nil, nil))
			}
			s.bit.sleep(ctx, lookEvery)
			continue
		}
		s.cancel()
		if _, ok := errors.AsType[*WaitError](err); ok || s.failed == nil || s.t.view.Ended() {
			return err
		}
		return s.explain(err, nil)
	}
}

func (s *set) explain(err error, cycle []Edge) *WaitError {
	h := s.failed.h
	e := &WaitError{Name: h.key.String(), Mode: h.mode, Err: err, Waited: time.Since(s.began), Cycle: cycle}
	return s.t.explain(e, h.key, 0)
}

// owns reports whether a record is one of the set's.
func (s *set) owns(ref roster.Ref) bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.rec != nil && m.ref == ref })
}

// attempt takes all if they are free now. If they are not it takes none, and waits in every queue, unless try says not to.
func (s *set) attempt(ctx context.Context, try bool) (in bool, err error) {
	defer func() {
		if !in {
			for _, m := range s.members {
				m.h.dropAbove()
			}
		}
	}()
	for _, m := range s.members {
		if err := s.above(ctx, m, try); err != nil {
			s.failed = m
			return false, err
		}
	}
	defer fault.Return(&err, fault.Catch())
	defer s.leave()
	for _, m := range s.members {
		if n := len(s.turns); n == 0 || s.turns[n-1].i != m.h.part() {
			u, err := s.t.turn(ctx, m.h.part(), try)
			if err != nil {
				s.failed = m
				for _, u := range s.turns {
					u.ok() // nothing was done
				}
				return false, err
			}
			s.turns = append(s.turns, u)
		}
		m.u = s.turns[len(s.turns)-1]
	}
	if in, err = s.takeLocked(); err == nil && !in && !try {
		err = s.queueLocked()
	}
	if err == nil {
		for _, u := range s.turns {
			u.ok()
		}
	}
	return in, err
}

// above gets what a member needs of its parents that are no members. It waits for a parent, since nothing is held then that
// others wait for but intents of the set's own other parents, which go before it waits.
func (s *set) above(ctx context.Context, m *member, try bool) error {
	h, intent := m.h, m.h.mode.Intent()
	for i := range h.key.n - 1 {
		parent := h.key.parent(i + 1)
		if s.memberOf(parent) != nil {
			continue
		}
		if s.scope != nil {
			cover, err := s.scope.cover(parent, intent)
			if err != nil {
				return err
			}
			if h.above[i].hold = cover; cover != nil {
				continue
			}
		}
		x, err := s.t.intend(ctx, parent, intent, true)
		if (errors.Is(err, ErrHeld) || errors.Is(err, ErrBusy)) && !try {
			for _, o := range s.members {
				o.h.dropAbove()
			}
			if x, err = s.t.intend(ctx, parent, intent, false); err == nil {
				x.leave()
				return s.aboveAll(ctx, m)
			}
		}
		if err != nil {
			return err
		}
		h.above[i].intent = x
	}
	return nil
}

// aboveAll begins again with the parents of all members up to m.
func (s *set) aboveAll(ctx context.Context, m *member) error {
	for _, o := range s.members {
		if err := s.above(ctx, o, false); err != nil {
			return err
		}
		if o == m {
			break
		}
	}
	return nil
}

// leave leaves all partitions, the last one first.
func (s *set) leave() {
	n := len(s.turns)
	if n == 0 {
		return
	}
	u := s.turns[n-1]
	s.turns = s.turns[:n-1]
	defer s.leave()
	u.leave()
}

// takeLocked takes all members, or none. It runs under the locks of their partitions, as all below.
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
		m.h.word = 0
		if m.h.rec != nil && m.rec != nil { // it waits again
			m.rec.Word.Store(uint64(m.rec.State().With(waitqueue.Waiting)))
		} else if m.h.rec != nil {
			m.h.rec.Word.Store(uint64(m.h.rec.State().With(waitqueue.Gone)))
			u.endLocked(m.h.head, m.h.n, m.h.ref, m.h.rec)
		}
		m.h.rec = nil
		u.call()
	}
	return false, err
}

// takeOneLocked takes one member, if it is free for the set.
func (s *set) takeOneLocked(u *turn, m *member) bool {
	t, h := s.t, m.h
	word := waitqueue.HoldOf(t.self.Row, h.mode, h.number(), t.number())
	if m.rec == nil && h.head.lock.TryTake(word) {
		h.word = word
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
		u.call()
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
			u.call()
			return false
		}
	}
	failpoint.Hit("locktable/many/granted")
	u.call()
	return true
}

// enterLocked makes a member that was taken a hold.
func (s *set) enterLocked(m *member) {
	h := m.h
	if m.rec != nil && h.rec == nil { // in place: the waiter's record goes
		u := m.u
		u.queue(h.head, h.n)
		m.rec.Word.Store(uint64(m.rec.State().With(waitqueue.Gone)))
		u.endLocked(h.head, h.n, m.ref, m.rec)
	}
	m.rec = nil
	h.lease, _ = s.t.mapped.Enter()
}

// queueLocked puts the set into the queue of each member.
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
			u.call()
			return err
		}
		failpoint.Hit("locktable/many/queued")
		q.WantLocked(m.h.mode, 0, rowOf, func(int) {})
		u.call()
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
		if s.t.view.Ended() {
			continue
		}
		rec.Word.Store(uint64(rec.State().With(waitqueue.Gone)))
		s.t.soon(m.h.part(), nil, func(u *turn, _ []byte) { u.endLocked(head, n, ref, rec) })
	}
}
