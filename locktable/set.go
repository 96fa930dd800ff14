package locktable

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

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

	room []member // of the members
	of   []int    // the member of each want
}

// sets are used again: what one has made room for serves the next.
var sets = sync.Pool{New: func() any { return new(set) }}

// resetSet makes the set ready for another LockMany.
func (s *set) resetSet() {
	clear(s.room)
	clear(s.members)
	clear(s.turns[:cap(s.turns)])
	*s = set{members: s.members[:0], turns: s.turns[:0], rows: s.rows[:0], room: s.room[:0], of: s.of[:0]}
	sets.Put(s)
}

// member is one of the names.
type member struct {
	h     *hold
	ident uint64 // its name's
	u     *turn  // while the partitions are locked
	nth   int    // of the wants, at first
	out   bool   // its hold has been given out
	ref   roster.Ref
	rec   *waitqueue.Record // of the waiter; nil: it is in no queue
}

// gather makes the members, and says which one each want is.
func (s *set) gather(wants []Want) (err error) {
	s.room = slices.Grow(s.room, len(wants))[:len(wants)]
	for i, w := range wants {
		if w.Mode < IntentShared || w.Mode > Exclusive {
			return invalid("mode %d", w.Mode)
		}
		h := s.t.pool.Get().(*hold)
		s.room[i] = member{h: h, nth: i}
		s.members = append(s.members, &s.room[i])
		if h.key, err = encode(h.buf[:0], w.Path); err != nil {
			return err
		}
		h.ident, h.mode = hash(h.key.b, s.t.seed), w.Mode
		s.room[i].ident = h.ident
	}
	slices.SortFunc(s.members, func(a, b *member) int {
		if a.ident != b.ident {
			return cmp.Compare(a.ident, b.ident)
		}
		return bytes.Compare(a.h.key.b, b.h.key.b)
	})
	s.of = slices.Grow(s.of, len(wants))[:len(wants)]
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
		s.of[m.nth] = n - 1
	}
	clear(s.members[n:])
	s.members = s.members[:n]
	for _, m := range s.members { // a parent that is asked for itself is held in a mode that covers what its children need, too
		for k := 1; k < m.h.key.n && deep; k++ {
			if p := s.memberOf(m.h.key.parent(k)); p != nil {
				p.h.mode = p.h.mode.Join(m.h.mode.Intent())
			}
		}
	}
	return nil
}

// memberOf returns the member of a name, nil if there is none.
func (s *set) memberOf(k key) *member {
	ident := hash(k.b, s.t.seed)
	i, _ := slices.BinarySearchFunc(s.members, ident, func(m *member, ident uint64) int { return cmp.Compare(m.ident, ident) })
	for ; i < len(s.members) && s.members[i].ident == ident; i++ {
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
		under, err := s.scope.admit(m.h.key, m.h.ident, m.h.mode)
		if err == nil && under != nil {
			_ = under.endUse()
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
			s.t.sweepDead(ctx, s.rows)
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
				s.t.callOnWait(s.explain(nil, nil))
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
	return s.t.explainWait(e, h.key)
}

// owns reports whether a record is one of the set's.
func (s *set) owns(ref roster.Ref) bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.rec != nil && m.ref == ref })
}

// attempt takes all if they are free now. If they are not it takes none, and waits in every queue, unless try says not
// to.
func (s *set) attempt(ctx context.Context, try bool) (in bool, err error) {
	defer func() {
		if in = in && err == nil; !in {
			for _, m := range s.members {
				m.h.dropAbove()
			}
		}
	}()
	for _, m := range s.members {
		if err := s.takeIntentsOf(ctx, m, try); err != nil {
			s.failed = m
			return false, err
		}
	}
	defer s.t.answer(&err, fault.Catch())
	defer s.leaveParts()
	for _, m := range s.members {
		if n := len(s.turns); n == 0 || s.turns[n-1].i != m.h.partition() {
			u, err := s.t.turn(ctx, m.h.partition(), try)
			if err != nil {
				s.failed = m
				for _, u := range s.turns {
					u.markDone() // nothing was done
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
			u.markDone()
		}
	}
	return in, err
}

// takeIntentsOf takes the intents that a member needs of those of its parents that are no members of the set. It may
// wait for a parent. At that time the set holds none of its locks, and it gives back the intents it has on other
// parents before it waits, so it holds nothing that other processes wait for.
func (s *set) takeIntentsOf(ctx context.Context, m *member, try bool) error {
	h, intent := m.h, m.h.mode.Intent()
	for i := range h.key.n - 1 {
		parent := h.key.parent(i + 1)
		if s.memberOf(parent) != nil {
			continue
		}
		if s.scope != nil {
			cover, err := s.scope.holdOfParent(parent, intent)
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
				x.endUse(false)
				return s.takeIntentsUpTo(ctx, m)
			}
		}
		if err != nil {
			return err
		}
		h.above[i].intent = x
	}
	return nil
}

// takeIntentsUpTo begins again with the parents of all members up to m.
func (s *set) takeIntentsUpTo(ctx context.Context, m *member) error {
	for _, o := range s.members {
		if err := s.takeIntentsOf(ctx, o, false); err != nil {
			return err
		}
		if o == m {
			break
		}
	}
	return nil
}

// leaveParts leaves all partitions, the last one first.
func (s *set) leaveParts() {
	n := len(s.turns)
	if n == 0 {
		return
	}
	u := s.turns[n-1]
	s.turns = s.turns[:n-1]
	defer s.leaveParts()
	u.leave()
}
