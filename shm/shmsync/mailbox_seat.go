package shmsync

import (
	"context"
	"math/bits"
)

// seat is one goroutine's place at a bit. Its fields are read and stored under the mailbox's mu.
type seat struct {
	bit    uint32
	turn   uint32        // goes up with each Release
	rung   bool          // and no process has waited since
	asleep bool          // on wake, in the mailbox's list
	wake   chan struct{} // holds one
	next   *seat         // at the same bit, or spare
	before *seat         // in the list
	after  *seat
}

// takeLocked rings, under m.mu, each waiter that has a bit that is set in the word.
func (m *Mailbox) takeLocked() {
	m.own.take(func(bit uint32) {
		if m.seats == nil {
			return
		}
		for s := m.seats[bit]; s != nil; s = s.next {
			m.ringLocked(s)
		}
	})
}

// ringAllLocked rings each seat. The caller holds m.mu.
func (m *Mailbox) ringAllLocked() {
	for k, used := range m.used {
		for ; used != 0; used &= used - 1 {
			for s := m.seats[64*k+bits.TrailingZeros64(used)]; s != nil; s = s.next {
				m.ringLocked(s)
			}
		}
	}
}

// ringLocked tells, under m.mu, a seat that it was rung. The channel belongs to the seat: nothing blocks.
func (m *Mailbox) ringLocked(s *seat) {
	s.rung = true
	m.wakeLocked(s)
}

// wakeLocked ends a seat's sleep. The caller holds m.mu.
func (m *Mailbox) wakeLocked(s *seat) {
	if !s.asleep {
		return
	}
	m.unlistLocked(s)
	m.woken = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// handOnLocked makes, under m.mu, the one that sleeps longest the dealer, if s is.
func (m *Mailbox) handOnLocked(s *seat) {
	if m.dealer != s {
		return
	}
	if m.dealer = m.first; m.dealer != nil {
		m.wakeLocked(m.dealer)
	}
}

// sleepLocked waits, with m.mu unlocked, until s is rung or made the dealer, or ctx is over.
func (m *Mailbox) sleepLocked(ctx context.Context, s *seat) {
	if !s.asleep {
		s.asleep, s.before, s.after = true, m.last, nil
		if m.last == nil {
			m.first = s
		} else {
			m.last.after = s
		}
		m.last = s
	}
	m.unlocked(func() {
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	})
	if s.asleep {
		m.unlistLocked(s)
	}
}

// unlistLocked takes a seat off the list of those that sleep. The caller holds m.mu.
func (m *Mailbox) unlistLocked(s *seat) {
	if s.before == nil {
		m.first = s.after
	} else {
		s.before.after = s.after
	}
	if s.after == nil {
		m.last = s.before
	} else {
		s.after.before = s.before
	}
	s.asleep, s.before, s.after = false, nil, nil
}
