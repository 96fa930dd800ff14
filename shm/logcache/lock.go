package logcache

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// turn is one call's use of a shard under its lock. The lease keeps the bytes over the end of the region's view, so that
// what is begun is finished and the lock given back.
type turn struct {
	c     *Cache
	s     *shard
	i     int // the shard's number
	lease shm.Lease
	guard shmsync.Guard
	done  bool   // the caller is through, and has not faulted
	doubt string // what cannot be and was found nevertheless

	cleaner cleaner // of a Set
	policy  eviction.Policy
}

// seat is the turn of the goroutine that has a shard's lock.
type seat struct {
	sync.Mutex
	turn turn
}

// markDirtyLocked notes that a word was found that cannot be: a neighbour has written over it. The shard is repaired
// before it is used again. It runs under the shard's lock.
func (t *turn) markDirtyLocked(what string) {
	t.doubt = what
	t.s.dirty.Store(1)
}

// lock waits for a shard's lock, and repairs what a holder that died has left.
func (c *Cache) lock(ctx context.Context, i int) (*turn, error) { return c.lockIf(ctx, i, false) }

// lockIf does what lock does or, with try, does not wait: then there is no turn and no error if the lock is held.
func (c *Cache) lockIf(ctx context.Context, i int, try bool) (*turn, error) {
	lease, err := c.bytes.Enter()
	if err != nil {
		return nil, c.closed()
	}
	if c.view.Ended() {
		lease.Leave()
		return nil, c.closed()
	}
	var guard shmsync.Guard
	if try {
		var ok bool
		if guard, ok, err = c.locks[i].TryLock(); !ok || err != nil {
			lease.Leave()
			return nil, nil
		}
	} else {
		guard, err = c.locks[i].Lock(ctx)
	}
	if errors.Is(err, shmsync.ErrNotRecoverable) { // all that it guards can be repaired
		guard, err = c.locks[i].Recover(ctx)
	}
	if err != nil {
		lease.Leave()
		if c.view.Ended() {
			return nil, c.closed()
		}
		return nil, fmt.Errorf("logcache: waiting for the lock of shard %d: %w", i, err)
	}
	c.seats[i].Lock() // after a swap of the bytes the lock may be had twice in this process
	t := &c.seats[i].turn
	*t = turn{c: c, s: &c.shards[i], i: i, lease: lease, guard: guard}
	err = fault.Contain(func() error {
		if guard.Abandoned() {
			t.s.dirty.Store(1)
			guard.MarkConsistent()
		}
		if t.s.dirty.Load() != 0 {
			t.repairLocked()
		}
		return nil
	})
	if err != nil {
		t.unlock()
		return nil, fmt.Errorf("logcache: shard %d: %w", i, err)
	}
	return t, nil
}

// unlock gives the lock back. It is deferred: after a fault, or if something was found that cannot be, the next holder
// repairs.
func (t *turn) unlock() {
	lease, guard := t.lease, t.guard
	if !t.done {
		_ = fault.Contain(func() error { t.s.dirty.Store(1); return nil })
	}
	t.c.seats[t.i].Unlock()
	_ = fault.Contain(func() error { guard.Unlock(); return nil })
	lease.Leave()
}
