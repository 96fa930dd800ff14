package shmsync

import (
	"context"
	"math/bits"
)

// This file is about the goroutines of one mailbox, in this process's own memory: their seats, the list of those that
// sleep, and the role of the dealer, which is handed on. The shared word is touched by takeBitsLocked alone.

// seat is one goroutine's place at a bit. Its fields are read and stored under the mailbox's mu. It is used again
// after a Release: a Bit of an earlier use has another turn.
type seat struct {
	bit    uint32
	turn   uint32        // goes up with each Release
	rung   bool          // since Take, or since Wait or Ready has said so
	asleep bool          // on wake, in the mailbox's list
	wake   chan struct{} // holds one
	next   *seat         // at the same bit, or spare
	before *seat         // in the list
	after  *seat
}

// takeBitsLocked takes the bits that are set in the word and rings the seats that have them. A bit that no seat has is
// dropped: its waiter has gone. The caller holds m.mu, and a lease of the word's bytes.
func (m *Mailbox) takeBitsLocked() {
	m.own.takeBits(func(bit uint32) {
		if m.seats == nil {
			return
		}
		for s := m.seats[bit]; s != nil; s = s.next {
			m.ringSeatLocked(s)
		}
	})
}

// ringAllLocked rings each seat. The caller holds m.mu.
func (m *Mailbox) ringAllLocked() {
	for k, used := range m.used {
		for ; used != 0; used &= used - 1 {
			for s := m.seats[64*k+bits.TrailingZeros64(used)]; s != nil; s = s.next {
				m.ringSeatLocked(s)
			}
		}
	}
}

// ringSeatLocked notes that a seat was rung, and ends its sleep. The channel belongs to the seat: nothing blocks. The
// caller holds m.mu.
func (m *Mailbox) ringSeatLocked(s *seat) {
	s.rung = true
	m.wakeSeatLocked(s)
}

// wakeSeatLocked ends a seat's sleep, if it sleeps. The token in its channel stays if the goroutine has woken for
// another reason by then; its next sleep ends at once, for nothing. The caller holds m.mu.
func (m *Mailbox) wakeSeatLocked(s *seat) {
	if !s.asleep {
		return
	}
	m.removeSleeperLocked(s)
	m.woken = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// handOnDealingLocked makes the seat that sleeps longest the dealer, if s is the dealer. It is deferred by Wait: no
// goroutine leaves with the role, whether it returns, panics or ends. If none sleeps there is no dealer, and the next
// Wait takes the role. The caller holds m.mu.
func (m *Mailbox) handOnDealingLocked(s *seat) {
	if m.dealer != s {
		return
	}
	if m.dealer = m.first; m.dealer != nil {
		m.wakeSeatLocked(m.dealer)
	}
}

// sleepSeatLocked waits, with m.mu unlocked during the wait, until s is rung or made the dealer, or ctx is over. It
// does not look at the end of the session: that rings every seat. The caller holds m.mu.
func (m *Mailbox) sleepSeatLocked(ctx context.Context, s *seat) {
	if !s.asleep {
		s.asleep, s.before, s.after = true, m.last, nil
		if m.last == nil {
			m.first = s
		} else {
			m.last.after = s
		}
		m.last = s
	}
	m.whileUnlocked(func() {
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	})
	if s.asleep {
		m.removeSleeperLocked(s)
	}
}

// removeSleeperLocked takes a seat off the list of those that sleep. The caller holds m.mu.
func (m *Mailbox) removeSleeperLocked(s *seat) {
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
