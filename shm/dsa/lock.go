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

// This file holds how a call takes the area's lock, and the stripe and scope that come before it. A call that runs
// under the lock uses withStripeAndLock, or Area.getWithLock; the slow halves of Alloc and Free, which have a stripe
// already, use lockArea.

// patience bounds each wait for the area's lock, and for that for growth, unless SetWait was called. A dead session
// never keeps one of them: only a session that is stopped, or very slow.
const patience = 10 * time.Second

// SetWait sets how long a call of this session waits for a lock of the area at most, each time that it takes one; 0 is
// 10 s. It is for calls that take no context, such as Alloc and Free, and those of structures in the area: they end with
// context.DeadlineExceeded then. A call with a context ends with that, too, if it is over before.
//
// A lock is held for long only by a session that is stopped. One that is dead is noticed within some milliseconds.
func (a *Area) SetWait(most time.Duration) { a.most.Store(int64(max(0, most))) }

// lockArea takes the area's lock, and repairs what a dead holder left. The caller has a stripe, so nothing is unmapped
// while it holds the lock, and defers the guard's Unlock. It waits for at most patience, and for less if ctx ends or
// the area does. After the area's end, and if the repair fails, it returns an error and the lock is free again.
func (a *Area) lockArea(ctx context.Context) (g guard, err error) {
	if g, err = a.lockAreaUnrepaired(ctx, a.ends.View); err != nil {
		return g, err
	}
	whole := false
	defer func() {
		if !whole {
			g.Unlock()
		}
	}()
	if err = a.repairIfDirtyLocked(ctx); err == nil {
		err = a.orClosed(nil)
	}
	whole = err == nil
	return g, err
}

// lockAreaUnrepaired takes the area's lock, whose structures may need to be repaired. Only lockArea calls it, and a
// session that leaves: that one repairs only if it is not the last. The end of the view, which may be nil, ends the
// wait.
//
// Dirty is stored before the lock is marked as consistent. If this process dies between the two, the next holder finds
// the lock abandoned again; in the other order it would find neither the one nor the other, and use what is
// half-changed.
func (a *Area) lockAreaUnrepaired(ctx context.Context, end *shm.View) (guard, error) {
	l, err := a.lockEvenPoisoned(ctx, a.lock, end)
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

// lockEvenPoisoned takes one of the area's locks, a poisoned one too: all that they guard can be repaired. A lock that
// is free is taken at once, whatever ctx says. Else it waits for at most patience or what SetWait says, and until ctx
// or the view end ends. The guard is Abandoned if the lock's last holder died, or left it poisoned.
func (a *Area) lockEvenPoisoned(ctx context.Context, l *shmsync.LWLock, end *shm.View) (shmsync.Guard, error) {
	if g, ok, err := l.TryLock(); ok || err != nil && !errors.Is(err, shmsync.ErrNotRecoverable) {
		return g, err
	}
	most := cmp.Or(time.Duration(a.most.Load()), patience)
	ctx, cancel := context.WithTimeoutCause(ctx, most, errWaitedTooLong(most))
	defer cancel()
	defer end.OnEnd(cancel)()
	return l.Recover(ctx)
}

// guard is the right to unlock the area's lock, once.
type guard struct {
	shmsync.Guard
	a *Area
}

// Unlock gives the lock back. A function defers it directly, since only then it sees a panic: if bytes of the area are
// gone from under the function that held the lock, it stores dirty first, so that the next holder repairs, and lets the
// panic go on.
func (g guard) Unlock() {
	if r := recover(); r != nil {
		defer panic(r)
		g.a.head.dirty.Store(1)
	}
	g.Guard.Unlock()
}

// dirtyIfCorruptLocked returns err. If that matches ErrCorrupt it makes the area dirty first, so that the next holder
// of the lock derives anew what is derived. After the area's end the bytes may be private ones, which prove nothing.
// The caller holds the area's lock.
func (a *Area) dirtyIfCorruptLocked(err error) error {
	if errors.Is(err, ErrCorrupt) && !a.ends.Ended() {
		a.head.dirty.Store(1)
	}
	return err
}

// withStripeAndLock runs f under the last stripe and the area's lock. The caller has no stripe. A fault in f is
// ErrCorrupt. Before it returns it unmaps what went back. It returns f's error, or ErrClosed once the area has ended,
// or the error of the wait for the lock.
func (a *Area) withStripeAndLock(ctx context.Context, f func() error) error {
	err := a.contained(func() error {
		return a.withStripe(func() error { return a.withLock(ctx, f) })
	})
	return a.unmapAfter(err)
}

// withLock runs f under the area's lock, if the area has not ended. The caller has a stripe. An error of f that
// matches ErrCorrupt makes the next holder repair the area.
func (a *Area) withLock(ctx context.Context, f func() error) error {
	if a.ends.Ended() {
		return errClosed
	}
	g, err := a.lockArea(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	return a.dirtyIfCorruptLocked(f())
}

// getWithLock calls get under the area's lock until that has what it wants: a span of class c with room, or, if c is -1,
// a run of n chunks. In between, without the lock, it makes room: the area grows or, if it cannot, what sessions have
// and do not use is taken from them. The caller has a stripe.
//
// An error of get ends it, but for one: ErrCorrupt at the first try, since taking the lock again repairs the area. It
// gives up after maxTries, with ErrNoMemory, if others have always been faster to use the room that it had made.
func (a *Area) getWithLock(c, n int, get func(context.Context) (bool, error)) error {
	ctx := context.Background()
	for try := range maxTries {
		if a.ends.Ended() {
			return errClosed
		}
		found, err := a.tryGet(ctx, get)
		if errors.Is(err, ErrCorrupt) && try == 0 {
			continue // the area is repaired first
		}
		if found || err != nil {
			return err
		}
		refused := a.growFor(ctx, n)
		if refused == nil {
			continue
		}
		if found, err = a.takeBack(ctx, c, n, refused, get); found || err != nil {
			return err
		}
	}
	return errOutrun
}
