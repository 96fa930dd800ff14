package locktable

import (
	"context"
	"sync"

	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Owner is one who holds locks, with what it does, as others see it. It travels in a context: see Table.As.
type Owner struct {
	t      *Table
	number uint32 // of its record, plus one; 0: there is none
	ref    roster.Ref
	rec    *waitqueue.Record

	mu    sync.Mutex
	holds holds
	done  bool
}

// holds are an owner's, by the hash of their names; those whose names have one hash are a list.
type holds map[uint64]*hold

// holdOf returns the hold of a name, nil if there is none.
func (hs holds) holdOf(k key, ident uint64) *hold {
	for h := hs[ident]; h != nil; h = h.twin {
		if string(h.key.b) == string(k.b) {
			return h
		}
	}
	return nil
}

func (hs holds) remove(h *hold) {
	first := hs[h.ident]
	if first == h {
		if h.twin == nil {
			delete(hs, h.ident)
		} else {
			hs[h.ident] = h.twin
		}
		h.twin = nil
		return
	}
	for x := first; x != nil; x = x.twin {
		if x.twin == h {
			x.twin, h.twin = h.twin, nil
			return
		}
	}
}

// scope is what a context says of the locks of a table.
type scope struct {
	owner *Owner
	under *hold // that the code with the context runs under; nil: none
	outer *scope
}

type scopeKey struct{ t *Table }

// As returns a context with a new owner of locks of the table: what is locked with it belongs to the owner, until that
// is unlocked, in whatever goroutine. Note, of which 40 bytes are kept, says what the owner does; others see it in
// List, in errors, and in Recovered if the process dies.
//
// An owner that asks for what it holds gets ErrSelf, not a second hold, unless it asks with a context of Hold.Under.
// Cycles of owners that wait for each other are found. A call without an owner is its own: a lock that is asked for
// twice without one waits for itself, until its context is over.
//
// Done ends the owner's record, once it holds nothing. If the session has no record left the owner has no note, and is
// not found in cycles.
func (t *Table) As(ctx context.Context, note string) (context.Context, *Owner) {
	o := &Owner{t: t, holds: holds{}}
	_ = t.withOwnRecords(func() {
		if ref, rec, err := t.roster.Take(); err == nil && ref.Index() < waitqueue.MaxOwner {
			o.ref, o.rec, o.number = ref, rec, uint32(ref.Index()+1)
			rec.StoreText(note)
			rec.Word.Store(uint64(waitqueue.StateOf(waitqueue.Note, 0, 0, t.number())))
		}
	})
	return context.WithValue(ctx, scopeKey{t}, &scope{owner: o}), o
}

// scopeOf returns what a context says, nil if nothing.
func (t *Table) scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{t}).(*scope)
	return s
}

// Note says what the owner does now.
func (o *Owner) Note(note string) {
	if o == nil || o.t == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rec != nil {
		_ = o.t.withOwnRecords(func() { o.rec.StoreText(note) })
	}
}

// Done says that the owner will ask for nothing more. Doing it twice is harmless.
func (o *Owner) Done() {
	if o == nil || o.t == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	o.endLocked()
}

// endLocked gives back, under o.mu, the record of an owner that is done and holds nothing.
func (o *Owner) endLocked() {
	if !o.done || len(o.holds) > 0 || o.rec == nil {
		return
	}
	_ = o.t.withOwnRecords(func() {
		o.rec.Word.Store(0)
		o.rec.StoreText("")
		o.t.roster.Give(o.ref)
	})
	o.rec = nil
}

// noteOf returns what an owner of a session does.
func (t *Looker) noteOf(row int, owner uint32) string {
	if owner == 0 {
		return ""
	}
	rec := t.recordAt(waitqueue.Ref(roster.RefOf(row, int(owner-1))))
	if rec == nil || rec.State().Kind() != waitqueue.Note {
		return ""
	}
	b := rec.Text()
	return clean(b[:])
}

// admit says what an owner that asks for a lock has to do with it: on what of its own holds the new one rests. Under
// is the same lock, held already; nil: it is not. It fails if the owner would wait for itself.
func (s *scope) admit(k key, ident uint64, m Mode) (under *hold, err error) {
	o := s.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.holds.holdOf(k, ident); h != nil {
		for x := s; x != nil; x = x.outer {
			if x.under == h && h.mode.Covers(m) {
				h.count.Add(1)
				return h, nil
			}
		}
		return nil, &WaitError{Name: k.String(), Mode: m, Err: ErrSelf}
	}
	for _, h := range o.holds {
		for ; h != nil; h = h.twin {
			if h.key.within(k) && h.mode.Intent().Conflicts(m) {
				return nil, &WaitError{Name: k.String(), Mode: m, Err: ErrSelf}
			}
		}
	}
	return nil, nil
}

// holdOfParent returns the owner's hold of a parent, on which a hold below it may rest; nil if it has none.
func (s *scope) holdOfParent(parent key, intent Mode) (*hold, error) {
	o := s.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.holds.holdOf(parent, hash(parent.b, o.t.seed))
	switch {
	case h == nil:
		return nil, nil
	case !h.mode.Covers(intent):
		return nil, &WaitError{Name: parent.String(), Mode: intent, Err: ErrSelf}
	}
	h.count.Add(1)
	return h, nil
}

func (o *Owner) add(h *hold) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	h.twin = o.holds[h.ident]
	o.holds[h.ident] = h
}

func (o *Owner) remove(h *hold) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds.remove(h)
	o.endLocked()
}
