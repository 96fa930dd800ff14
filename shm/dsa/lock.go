package dsa

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// patience bounds the wait for one of the area's locks, which a dead session never keeps: only one that is stopped, or very
// slow. It is so long unless SetWait was called.
const patience = 10 * time.Second

// SetWait sets how long a call of this session waits for a lock of the area at most, each time that it takes one; 0 is
// 10 s. It is for calls that take no context, such as Alloc and Free, and those of structures in the area: they end with
// context.DeadlineExceeded then. A call with a context ends with that, too, if it is over before.
//
// A lock is held for long only by a session that is stopped. One that is dead is noticed within some milliseconds.
func (a *Area) SetWait(most time.Duration) { a.most.Store(int64(max(0, most))) }

// errImpatient returns the cause of a wait that has reached its bound.
func errImpatient(most time.Duration) error {
	return fmt.Errorf("another session has held it for %v, the bound of Area.SetWait: %w", most, context.DeadlineExceeded)
}

// acquire takes the area's lock, and repairs what a dead holder left.
func (a *Area) acquire(ctx context.Context) (g guard, err error) {
	if g, err = a.take(ctx, a.ends.View); err != nil {
		return g, err
	}
	whole := false
	defer func() {
		if !whole {
			g.Unlock()
		}
	}()
	if err = a.mend(ctx); err == nil {
		err = a.answer(nil)
	}
	whole = err == nil
	return g, err
}

// take takes the area's lock. What it guards may need to be repaired. The end of the view ends the wait.
func (a *Area) take(ctx context.Context, end *shm.View) (guard, error) {
	l, err := a.lockOrWait(ctx, a.lock, end)
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

func (a *Area) mend(ctx context.Context) error {
	if a.head.dirty.Load() == 0 {
		return nil
	}
	return a.repair(context.WithoutCancel(ctx))
}

// lockOrWait takes one of the area's locks, a poisoned one too: all that they guard can be repaired.
func (a *Area) lockOrWait(ctx context.Context, l *shmsync.LWLock, end *shm.View) (shmsync.Guard, error) {
	if g, ok, err := l.TryLock(); ok || err != nil && !errors.Is(err, shmsync.ErrNotRecoverable) {
		return g, err
	}
	most := cmp.Or(time.Duration(a.most.Load()), patience)
	ctx, cancel := context.WithTimeoutCause(ctx, most, errImpatient(most))
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

// doubted is err, of what is done under the area's lock: if something is wrong, who has the lock next repairs.
func (a *Area) doubted(err error) error {
	if errors.Is(err, ErrCorrupt) && !a.ends.Ended() {
		a.head.dirty.Store(1)
	}
	return err
}

// under runs f under the lock of an area that is open, and under a stripe.
func (a *Area) under(ctx context.Context, f func() error) error {
	err := a.contained(func() error {
		return a.striped(func() error { return a.locked(ctx, f) })
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

func (a *Area) locked(ctx context.Context, f func() error) error {
	if a.ends.Ended() {
		return errClosed
	}
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	return a.doubted(f())
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
