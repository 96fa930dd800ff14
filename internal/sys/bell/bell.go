// Package bell wakes a goroutine of another process that sleeps in the Go runtime's own poller, as readers of
// sockets do: the sleep holds no thread, and a busy process hears of it between two goroutines. A bell is a
// datagram socket with a random number for its only name; it goes with its process.
//
// Any process of the network namespace can ring it: that is a look in vain, and no harm.
package bell

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Bell is where one goroutine sleeps.
type Bell struct {
	name    uint64
	socket  socket
	ready   func() bool
	told    bool        // ready has been asked, in this Wait
	stopped atomic.Bool // the deadline is in the past
}

// New returns a bell for a goroutine who waits until ready says true. It is nil where the system has none: on Linux alone
// a socket can have a name without a file.
func New(ready func() bool) *Bell {
	b := &Bell{name: rand.Uint64() | 1, ready: ready}
	if !b.open() {
		return nil
	}
	return b
}

// Name returns what others ring it by. It is not 0.
func (b *Bell) Name() uint64 { return b.name }

// Wait sleeps until a goroutine has rung or Interrupt is called, and not at all if ready is true. It also returns
// about every d, if d is not 0, and reports whether it returned for that reason: late.
func (b *Bell) Wait(d time.Duration) (late bool) { return b.wait(d) }

// Interrupt ends a Wait. Ready must be true by then.
func (b *Bell) Interrupt() {
	b.stopped.Store(true)
	b.interrupt()
}

// Close gives the bell back. No goroutine may wait any more.
func (b *Bell) Close() { b.close() }

// Ring wakes the goroutine that waits at that bell, in any process. It reports whether there is such a bell that can
// be reached from here: no border of a network namespace may lie between. If this process has no descriptor left, or the
// system no memory, the ring is lost: Wait comes back late.
func Ring(name uint64) bool { return ring(name) }
