package dsa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// patience bounds the wait for the area's lock, which a dead session never keeps: only one that
// is stopped, or very slow.
const patience = 10 * time.Second

// acquire takes the area's lock, and repairs what a dead holder left.
func (a *Area) acquire(ctx context.Context) (g guard, err error) {
	if g, err = a.acquireUnrepaired(ctx, a.ends.View); err != nil {
		return g, err
	}
	whole := false
	defer func() {
		if !whole {
			g.Unlock()
		}
	}()
	if err = a.mendLocked(ctx); err == nil {
		err = a.answer(nil)
	}
	whole = err == nil
	return g, err
}

// acquireUnrepaired takes the area's lock. What it guards may need to be repaired. The end of the view ends the wait.
func (a *Area) acquireUnrepaired(ctx context.Context, end *shm.View) (guard, error) {
	l, err := lockOrWait(ctx, a.lock, end)
	g := guard{l, a}
	if err != nil {
		return g, fmt.Errorf("dsa: the area's lock: %w", err)
	}
	if g.Abandoned() {
		a.head.dirty.Store(1)
		g.MarkConsistent()
	}
	return g, nil
}

// mendLocked repairs the area if it is dirty. The caller holds the area's lock.
func (a *Area) mendLocked(ctx context.Context) error {
	if a.head.dirty.Load() == 0 {
		return nil
	}
	return a.repairLocked(context.WithoutCancel(ctx))
}

// lockOrWait takes one of the area's locks, a poisoned one too: all that they guard can be repaired.
func lockOrWait(ctx context.Context, l *shmsync.LWLock, end *shm.View) (shmsync.Guard, error) {
	if g, ok, err := l.TryLock(); ok || err != nil && !errors.Is(err, shmsync.ErrNotRecoverable) {
		return g, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer end.OnEnd(cancel)()
	return l.Recover(ctx)
}

// guard is the right to unlock the area's lock, by defer: if there was a fault under it, who locks next repairs.
type guard struct {
	shmsync.Guard
	a *Area
}

func (g guard) Unlock() {
	if r := recover(); r != nil {
		defer panic(r)
		g.a.head.dirty.Store(1)
	}
	g.Guard.Unlock()
}

// doubtedLocked is err, of what is done under the area's lock: if something is wrong, who has the lock next repairs.
func (a *Area) doubtedLocked(err error) error {
	if errors.Is(err, ErrCorrupt) && !a.ends.Ended() {
		a.head.dirty.Store(1)
	}
	return err
}

// lockAndCall runs f under the lock of an area that is open, and under a stripe.
func (a *Area) lockAndCall(ctx context.Context, f func() error) error {
	err := a.contained(func() error {
		return a.striped(func() error { return a.lockAreaAndCall(ctx, f) })
	})
	return a.after(err)
}

// striped runs f under a stripe, for which Detach waits: so nothing that f looks at is unmapped.
func (a *Area) striped(f func() error) error {
	st := &a.stripes[stripes-1]
	st.Lock()
	defer st.Unlock()
	return f()
}

func (a *Area) lockAreaAndCall(ctx context.Context, f func() error) error {
	if a.ends.Ended() {
		return errClosed
	}
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	return a.doubtedLocked(f())
}

func (a *Area) lockStripes() {
	for i := range a.stripes {
		a.stripes[i].Lock()
	}
}

func (a *Area) unlockStripes() {
	for i := range a.stripes {
		a.stripes[i].Unlock()
	}
}
