package locktable

import (
	"context"
	"slices"
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
// other, in whatever order their names are. A name that is given twice is locked once, in a mode that covers both.
// Others may take single names of it while it waits for further ones; after a second it keeps its place in every
// queue.
//
// An owner that holds something already can be in a cycle, as with Lock.
func (t *Table) LockMany(ctx context.Context, wants ...Want) (Holds, error) {
	return t.many(ctx, wants, false)
}

// TryLockMany is LockMany for one that does not wait, as TryLock is of Lock.
func (t *Table) TryLockMany(ctx context.Context, wants ...Want) (Holds, error) {
	return t.many(ctx, wants, true)
}

func (t *Table) many(ctx context.Context, wants []Want, try bool) (hs Holds, err error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	scope := t.scopeOf(ctx)
	if scope == nil {
		if hs, ok := t.quickMany(wants); ok {
			return hs, nil
		}
	}
	s := sets.Get().(*set)
	defer s.resetSet()
	s.t, s.scope = t, scope
	if err = s.gather(wants); err == nil {
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
	if scope == nil {
		s.keepNames(wants)
	}
	hs = make(Holds, 0, len(wants))
	for _, at := range s.of {
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

// quickMany takes all locks, for no owner, if the table has a Name of each and all are free. It reports whether it
// did; if not it has given back those that it had.
func (t *Table) quickMany(wants []Want) (Holds, bool) {
	hs := make(Holds, 0, len(wants))
	for _, w := range wants {
		if n, _, _ := t.names.find(w.Path); n != nil && (w.Mode == Exclusive || w.Mode == Shared) {
			if h, ok := n.quick(w.Mode, false); ok {
				hs = append(hs, h)
				continue
			}
		}
		_ = hs.Unlock()
		return nil, false
	}
	return hs, len(wants) > 0
}

// keepNames makes Names of those locks, taken without others beside them, whose paths were not found before, not long ago.
func (s *set) keepNames(wants []Want) {
	for i, w := range wants {
		h := s.members[s.of[i]].h
		if !h.alone {
			continue
		}
		if n, set, near := s.t.names.find(w.Path); n == nil && set.noteMiss(near) {
			s.t.keepName(h, w.Path, set, near)
		}
	}
}
