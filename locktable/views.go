package locktable

import (
	"context"
	"sync"
)

// Under returns a context for what runs under this hold: with it the same lock is had again at once, in the same mode
// or one that it covers, and the lock is free when all are unlocked. Without an owner in ctx it makes one, without a
// note.
func (x Hold) Under(ctx context.Context) context.Context {
	h, err := x.beginUse()
	if err != nil {
		return ctx
	}
	defer h.endUse()
	for h.under != nil {
		h = h.under
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.t.scopeOf(ctx)
	o := h.owner
	if o == nil {
		if s != nil {
			o = s.owner
		} else {
			o = &Owner{t: h.t, holds: holds{}}
		}
		h.owner, h.plain = o, false // the owner is not noted in shared memory
		o.add(h)
	}
	return context.WithValue(ctx, scopeKey{h.t}, &scope{owner: o, under: h, outer: s})
}

// Locker returns the name's lock, Exclusive, as a sync.Locker, for sync.Cond and code that knows no contexts. Lock
// panics with the error if ctx is over, the table is closed, or the owner that ctx has would wait for itself.
func (n *Name) Locker(ctx context.Context) sync.Locker {
	return &locker{n: n, ctx: ctx, mode: Exclusive}
}

// RLocker is Locker with the lock Shared. One RLocker is locked by one goroutine at a time.
func (n *Name) RLocker(ctx context.Context) sync.Locker { return &locker{n: n, ctx: ctx, mode: Shared} }

type locker struct {
	n    *Name
	ctx  context.Context
	mode Mode
	hold Hold
}

func (l *locker) Lock() {
	h, err := l.n.Lock(l.ctx, l.mode)
	if err != nil {
		panic(err)
	}
	l.hold = h
}

func (l *locker) Unlock() {
	if err := l.hold.Unlock(); err != nil {
		panic(err)
	}
}
