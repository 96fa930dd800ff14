package dsa

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// patience bounds the wait for the area's lock, which a dead session never keeps: only one that
// is stopped, or very slow.
const patience = 10 * time.Second

// acquire takes the area's lock, and repairs what a dead holder left.
func (a *Area) acquire(ctx context.Context) (shmsync.Guard, error) {
	g, err := a.take(ctx)
	if err != nil {
		return g, err
	}
	if err := a.mend(ctx); err != nil {
		g.Unlock()
		return g, err
	}
	return g, nil
}

// take takes the area's lock. What it guards may need to be repaired.
func (a *Area) take(ctx context.Context) (shmsync.Guard, error) {
	g, ok, err := a.lock.TryLock()
	if err == nil && !ok {
		g, err = wait(ctx, a.lock)
	}
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

func wait(ctx context.Context, l *shmsync.LWLock) (shmsync.Guard, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g, err := l.Lock(ctx)
	if err != nil {
		err = fmt.Errorf("%w; held by %v", err, l.Status().Exclusive)
	}
	return g, err
}

// under runs f under the lock of an area that is open, and under a stripe.
func (a *Area) under(ctx context.Context, f func() error) error {
	return a.striped(func() error { return a.locked(ctx, f) })
}

// striped runs f under a stripe, for which Detach waits: so nothing that f looks at is unmapped.
func (a *Area) striped(f func() error) error {
	st := &a.stripes[stripes-1]
	st.Lock()
	defer st.Unlock()
	return f()
}

func (a *Area) locked(ctx context.Context, f func() error) error {
	if a.closed.Load() {
		return errClosed
	}
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	return f()
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
