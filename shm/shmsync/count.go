package shmsync

import (
	"context"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/futex"
)

// Count is a number that lies in shared memory, only grows, and can be waited for: one side has news and adds, the
// other remembers what it has seen. Its zero value is 0. It is 4 bytes.
type Count struct {
	_ structs.HostLayout
	n atomic.Uint32
}

// Load returns the number now.
func (c *Count) Load() uint32 { return c.n.Load() }

// Set makes the number at least 1, and wakes nobody.
func (c *Count) Set() { c.n.CompareAndSwap(0, 1) }

// Add adds one and wakes all who wait.
func (c *Count) Add() {
	c.n.Add(1)
	failpoint.Hit("shmsync/count/added")
	c.Nudge()
}

// Nudge wakes all who wait, without news: their Wait returns early.
func (c *Count) Nudge() { futex.Wake(&c.n, 1<<30) }

// Wait sleeps while the number is seen, for at most d, until ctx is over, and returns the number then. It may
// return early for no reason. (A Linux before 5.16 hears of the end of ctx by Nudge only.)
func (c *Count) Wait(ctx context.Context, seen uint32, d time.Duration) uint32 {
	futex.WaitLong(ctx, &c.n, seen, d)
	return c.n.Load()
}
