package locktable

import (
	"context"
	"sync"
)

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
