package mq

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/bell"
	"github.com/godsm/godsm/internal/sys/spin"
)

// How an end of a Conn waits: it lets others run, and its reader sleeps at a bell, which holds no thread.

// forConn is what an end of a Conn has besides: its goroutine is one of many, as a server's are.
type forConn struct {
	// bell is nil until the first wait, if the system has none, and for the sender. The half's mu guards it.
	bell *bell.Bell
	// asked is true once a bell was asked for. A second one is not: the other end may have taken the first one's name
	// away.
	asked bool
	// rounds has learned how long it pays to let others run before a sleep.
	rounds spin.Rounds
}

// firstLooks is how many looks come first, for an answer that is on its way.
const firstLooks = 30

// spin looks for a short while before a sleep, and reports whether ready or the end of the wait has come. Unlike
// end.spinWait any number of goroutines of a process may do so at a time: they let each other run.
func (c *forConn) spin(ready func() bool, halt *atomic.Bool) bool {
	for range firstLooks {
		if ready() {
			return true
		}
	}
	return c.rounds.Until(func() (done, stop bool) { return ready(), halt.Load() }) || halt.Load()
}

// hangBellLocked gives the reader its bell, at the first wait: readers wait most of the time, so the bell is theirs,
// and a connection that is only made costs no socket. The caller holds in.mu and catches faults.
func (c *Conn) hangBellLocked() error {
	r := c.r
	if r.conn.asked {
		return nil
	}
	r.conn.asked = true
	b := bell.New(r.ready)
	if b == nil {
		return nil
	}
	r.conn.bell = b // Close gives it back
	// The end has the bell before it is asked whether it is over: a view that ends later interrupts the bell, and one
	// that has ended is noticed here.
	r.bell.Store(b)
	if err := r.errIfUnusable(); err != nil {
		return err
	}
	// The name comes last: from here on the other end rings. A process that dies after it leaves a name that no bell
	// has; the other end finds that when it rings, and clears it.
	r.mine.bell.Store(b.Name())
	return nil
}

// wokenByBell reports whether this end is woken by its bell.
func (e *end) wokenByBell() bool {
	return e.conn != nil && e.conn.bell != nil && !e.ended.Load() && e.mine.bell.Load() != 0
}
