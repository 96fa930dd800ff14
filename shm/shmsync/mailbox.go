package shmsync

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/shm"
)

// Mailbox is how the goroutines of one session are woken by other sessions: by one word in shared memory and a bit for
// each goroutine that waits. It says that there may be news, not what: an answer, an offer of a lock, lies elsewhere in
// shared memory, where the process that rings has stored it, together with the peer and the bit's number that the
// waiter has put there before.
//
//	b := self.Mailbox.Take()                // the waiter
//	defer b.Release()
//	record.waiter.Store(me, b.Number())
//	for !record.answered() {
//		if err := b.Wait(ctx); err != nil {
//			return err
//		}
//	}
//
//	record.answer.Store(x)                  // another session
//	self.Mailbox.Ring(peer, number)
//
// Of the goroutines that wait, one is the dealer: it sleeps on the word for all, takes the bits that are set, and wakes
// the others by channels. When it has what it waits for, or its context is over, it hands the role on. So a session's
// waiters take one thread, a ring costs one system call at most, and while no process waits there is no goroutine at
// all.
//
// A session has one Mailbox, in Session.Self. All methods are safe for concurrent use and none is called with a
// structure's lock held for longer than any other atomic operation would be, but Wait. A nil Mailbox, and the zero one,
// rings no process, and a Wait for a bit of it is ErrClosed.
type Mailbox struct {
	words []MailboxWord // in shared memory, one for each row
	own   *MailboxWord  // this session's; nil in the zero Mailbox
	view  *shm.View     // of the session: its end ends the waits
	bytes *shm.View     // of the words: its end waits for goroutines that are at them
	spins spin.Budget   // of the dealer

	mu     sync.Mutex
	seats  []*seat                  // those that have taken each bit, a list; nil until the first Take
	used   [MailboxBits / 64]uint64 // a bit for each bit that a seat has
	shared uint32                   // which bit is shared next, when all are taken
	spare  *seat                    // seats to be used again, a list
	dealer *seat                    // the one that sleeps on the word, or is about to; nil: no goroutine waits
	inside bool                     // the dealer is at the word
	woken  bool                     // others were woken since the dealer let them run
	beat   time.Time                // when all are rung next
	first  *seat                    // those that sleep on their channels, the longest first
	last   *seat
}

// beatEvery is how often all are rung while one waits. It bounds how long a ring is missed whose ringer has died.
const beatEvery = time.Second

// NewMailbox returns the mailbox of self, whose word is words[self.Row]; words has one for each row. Waits end with
// self.View. Bytes is the view of the words, nil if they never end: the mailbox does not access the words after its end,
// and holds a lease of it while it accesses them. The last lease may be given back while the mailbox's mutex is
// locked, so a function that is given to bytes.Drain must not call a method of the mailbox.
func NewMailbox(words []MailboxWord, bytes *shm.View, self Self) *Mailbox {
	m := &Mailbox{words: words, own: &words[self.Row], view: self.View, bytes: bytes}
	m.view.OnEnd(m.Nudge)
	m.bytes.OnEnd(m.Nudge)
	return m
}

// Ring rings bits of the mailbox of a peer: see MailboxWord.Ring. A peer that has gone, whose row may be another
// session's by now, is rung in vain, and so is every peer once this session's memory is gone. Ring takes no lock and
// does not block.
func (m *Mailbox) Ring(to Peer, bits ...uint32) {
	if m == nil || to.Row < 0 || to.Row >= len(m.words) {
		return
	}
	lease, err := m.bytes.Enter()
	if err != nil {
		return
	}
	defer lease.Leave()
	_ = contained(func() { m.words[to.Row].Ring(bits...) })
}

// Nudge rings every bit that is taken: each Wait returns. The session does that when another session has died, since
// that one may have been about to ring. It does not block.
//
// All are rung before the word is changed: a dealer that is about to sleep on the word does not, and one that sleeps
// wakes up and finds its seat rung.
func (m *Mailbox) Nudge() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ringAllLocked()
	if m.inside { // so its bytes are there
		_ = contained(m.own.wakeDealer)
	}
}

// Bit is a goroutine's place in a Mailbox, from Take to Release. One goroutine at a time calls Wait.
type Bit struct {
	m    *Mailbox
	seat *seat
	turn uint32 // the seat's at Take: another one means that the bit was released
}

// Take reserves a bit. It always succeeds: when all bits are taken, some are shared. It does not block. The first Take
// of a session tells the others that it wants to hear of deaths (MailboxWord.Want), before any of its goroutines
// waits.
func (m *Mailbox) Take() Bit {
	if m == nil || m.own == nil {
		return Bit{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seats == nil {
		m.seats = make([]*seat, MailboxBits)
		m.withOwnWord(func() { m.own.Want(true) })
	}
	s := m.spare
	if s == nil {
		s = &seat{wake: make(chan struct{}, 1)}
	} else {
		m.spare = s.next
	}
	s.bit = m.freeBitLocked()
	m.used[s.bit/64] |= 1 << (s.bit % 64)
	s.next, m.seats[s.bit] = m.seats[s.bit], s
	return Bit{m, s, s.turn}
}

// freeBitLocked returns a bit that no seat has; if there is none, one that has to be shared, each in turn. The caller
// holds m.mu.
func (m *Mailbox) freeBitLocked() uint32 {
	for k, used := range m.used {
		if free := ^used; free != 0 {
			return uint32(64*k + bits.TrailingZeros64(free))
		}
	}
	m.shared++
	return m.shared % MailboxBits
}

// Number returns what Ring is called with to ring the bit. It is below MailboxBits.
func (b Bit) Number() uint32 {
	if b.m == nil {
		return 0
	}
	return b.seat.bit
}

// Release gives the bit back. A ring that comes later is harmless, also for the one who has the bit then. Releasing
// twice is harmless.
func (b Bit) Release() {
	m, s := b.m, b.seat
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.turn != b.turn {
		return
	}
	s.turn++
	at := &m.seats[s.bit]
	for *at != s {
		at = &(*at).next
	}
	if *at = s.next; m.seats[s.bit] == nil {
		m.used[s.bit/64] &^= 1 << (s.bit % 64)
	}
	m.ringSeatLocked(s) // a Wait of it, which is misuse, ends
	s.rung = false
	select {
	case <-s.wake:
	default:
	}
	s.next, m.spare = m.spare, s
}

// Ready reports whether the bit has been rung since Take, or since Wait or Ready said so. It does not wait.
func (b Bit) Ready() bool {
	m, s := b.m, b.seat
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.turn != b.turn || m.errIfEnded() != nil {
		return false
	}
	if !s.rung {
		m.withOwnWord(m.takeBitsLocked)
	}
	was := s.rung
	s.rung = false
	return was
}

// Wait waits until the bit is rung. It may return nil without a ring, and does so about once a second and after each
// death of a session, so that a ring that was lost with its ringer is only late: the caller looks at what it waits for
// and waits again. It ends too when ctx is over, with its cause, and when the session ends, with ErrClosed: then the
// caller looks once more, since the ring may have come at the same moment.
func (b Bit) Wait(ctx context.Context) error {
	m, s := b.m, b.seat
	if m == nil {
		return errUnmade
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.handOnDealingLocked(s)
	for {
		switch err := m.errIfEnded(); {
		case err != nil:
			return err
		case s.turn != b.turn:
			return fmt.Errorf("waiting at a mailbox: the bit was released (Take returns another): %w", ErrNotOwner)
		case s.rung:
			s.rung = false
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case m.dealer == nil:
			m.dealer, m.beat = s, time.Now().Add(beatEvery)
		}
		if m.dealer != s {
			m.sleepSeatLocked(ctx, s)
		} else if err := m.dealLocked(ctx, b); err != nil {
			return err
		}
	}
}

// errIfEnded returns nil, or ErrClosed once the session or the bytes have ended.
func (m *Mailbox) errIfEnded() error {
	if err := m.view.Err(); err != nil {
		return err
	}
	return m.bytes.Err()
}

// dealLocked sleeps on the word, with m.mu unlocked during the sleep, and rings the seats whose bits come, until the
// dealer itself has something to return. It returns an error if the bytes have ended or are gone. The caller holds
// m.mu.
//
// Wake is stored before the last look at some, and a ringer stores some before it looks at wake: see MailboxWord. In the
// sleep m.mu is free, so that others can take their place, be rung and leave. Each of them that is woken is given the
// processor before the dealer sleeps again, in the kernel, on the thread that they would run on.
func (m *Mailbox) dealLocked(ctx context.Context, b Bit) error {
	lease, err := m.bytes.Enter()
	if err != nil {
		return err
	}
	defer lease.Leave()
	m.inside = true
	defer func() { m.inside = false }()
	own, s := m.own, b.seat
	for spun := false; ; {
		if err := contained(m.takeBitsLocked); err != nil {
			return err
		}
		if s.rung || s.turn != b.turn || ctx.Err() != nil || m.errIfEnded() != nil {
			return nil
		}
		pause := time.Until(m.beat)
		switch {
		case pause <= 0:
			m.beat = time.Now().Add(beatEvery)
			if err := contained(own.clearBits); err != nil {
				return err
			}
			m.ringAllLocked()
			continue
		case m.woken: // they are queued behind this goroutine, which is about to occupy its processor asleep
			m.woken = false
			m.whileUnlocked(runtime.Gosched)
			continue
		case !spun:
			spun = true
			m.whileUnlocked(func() {
				_ = contained(func() { m.spins.Until(func() bool { return own.some.Load() != 0 }) })
			})
			continue
		}
		err := contained(func() {
			own.wake.Store(dealerSleeps)
			failpoint.Hit("shmsync/mailbox/asleep")
			if own.some.Load() == 0 {
				m.whileUnlocked(func() {
					futex.WaitAny(ctx, pause, futex.Word{W: &own.wake, Val: dealerSleeps})
					failpoint.Hit("shmsync/mailbox/woken")
				})
			}
			own.wake.Store(0)
		})
		if err != nil {
			return err
		}
	}
}

// withOwnWord runs f, which touches the word, unless its bytes are gone.
func (m *Mailbox) withOwnWord(f func()) {
	if lease, err := m.bytes.Enter(); err == nil {
		_ = contained(f)
		lease.Leave()
	}
}

// whileUnlocked runs f without m.mu, which is locked again even if f panics.
func (m *Mailbox) whileUnlocked(f func()) {
	m.mu.Unlock()
	defer m.mu.Lock()
	f()
}

// contained runs f and returns nil or, if f met a fault, ErrCorrupt: the bytes of the mailboxes are gone. Other panics
// go on.
func contained(f func()) error {
	if fault.Contain(func() error { f(); return nil }) != nil {
		return errkind.As(errkind.Corrupt, errors.New("the bytes of the mailboxes are gone from under their mapping"))
	}
	return nil
}
