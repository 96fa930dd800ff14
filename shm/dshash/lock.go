package dshash

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/shm/shmsync"
)

// lock takes the partition's lock, and repairs what a dead holder left.
func (t *core) lock(ctx context.Context, i int, exclusive bool) (shmsync.Guard, error) {
	if err := t.area.Current(); err != nil {
		return shmsync.Guard{}, fmt.Errorf("dshash: %w", err)
	}
	g, err := t.take(ctx, i, exclusive)
	if err != nil || t.parts[i].dirty.Load() != 0 || g.Abandoned() {
		return t.lockMended(ctx, i, exclusive, g, err)
	}
	return g, nil
}

func (t *core) take(ctx context.Context, i int, exclusive bool) (shmsync.Guard, error) {
	if exclusive {
		return t.local[i].lock.Lock(ctx)
	}
	return t.local[i].lock.RLock(ctx)
}

// lockMended goes on from the outcome of take: with repairs, until there is nothing to repair and the lock
// is what it is wanted for.
func (t *core) lockMended(
	ctx context.Context, i int, exclusive bool, g shmsync.Guard, err error,
) (shmsync.Guard, error) {
	l, p := t.local[i].lock, &t.parts[i]
	for want := exclusive; ; g, err = t.take(ctx, i, want) {
		if err != nil {
			return g, fmt.Errorf("dshash: the lock of partition %d, held by %v: %w", i, l.Status().Exclusive, err)
		}
		alone := want
		if g.Abandoned() {
			alone = true
			p.dirty.Store(1)
			g.MarkConsistent()
		}
		switch {
		case p.dirty.Load() == 0 && alone == exclusive:
			return g, nil
		case !alone:
			want = true // to repair
		default:
			want = exclusive
			if p.dirty.Load() == 0 {
				break
			}
			if err := t.repair(ctx, i); err != nil {
				g.Unlock()
				return g, fmt.Errorf("dshash: partition %d, whose last holder died, is not to be repaired: %w", i, err)
			}
			if exclusive {
				return g, nil
			}
		}
		g.Unlock()
	}
}
