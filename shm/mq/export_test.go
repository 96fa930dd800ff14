package mq

import "sync/atomic"

// Asleep says which ends have said that they are about to sleep.
func (q *Queue) Asleep() (sender, receiver bool) {
	return q.h.sender.sleep.Load()&asleep != 0, q.h.receiver.sleep.Load()&asleep != 0
}

// Misname has those who want to wake this connection's reader ring a bell that is not there, and
// returns the place of its name.
func (c *Conn) Misname() interface{ Load() uint64 } {
	c.hangNow()
	c.r.mine.bell.Store(1)
	return &c.r.mine.bell
}

// WordsOf returns the shared words by which others wake the reader of c: of its sleep, and the name of its bell.
func WordsOf(c *Conn) (sleep *atomic.Uint32, bell *atomic.Uint64) {
	c.hangNow()
	m := c.r.base().mine
	return &m.sleep, &m.bell
}

// hangNow gives the reader its bell, as its first wait does.
func (c *Conn) hangNow() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	_ = c.hangBellLocked()
}
