package shmsync

import (
	"context"
	"math/bits"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
	"github.com/godsm/godsm/internal/sys/race"
)

// MailboxBits is how many done bits a mailbox has: as many as the goroutines of one session that are expected to wait at
// once, a thousand callers of a batch. More share bits, and are woken for each other.
const MailboxBits = 1024

// MailboxWord is what of a session's Mailbox lies in shared memory. Its zero value is empty. It is 192 bytes. The owner
// is the session whose row it belongs to. A ringer is a process that rings, a teller one that calls Tell; each may be
// any.
//
//	offset  bytes  field   stored by                    meaning
//	0       4      wake    owner: 1; ringer: 0          1: the owner's dealer sleeps or is about to. Futex
//	4       4      some    ringer sets, owner takes     bit k: there may be bits in done[k]
//	8       4      news    teller sets, owner takes     what the owner's watcher is to look at (News). Futex
//	12      4      wanted  owner                        1: the owner wants NewsDeath
//	64      128    done    ringer sets, owner takes     bit b: the goroutine of the owner that has taken bit b is to look
//
// Set and take are atomic Or and Swap, and all accesses are sequentially consistent. No ring is lost, since each side
// stores before it looks: a ringer stores done, then some, then looks at wake; the dealer stores wake, then looks at
// some. One of the two sees the other. A ringer that finds a bit of some set already leaves it: the dealer, which takes
// some before done, has yet to come there.
//
// What a death leaves, and what makes it good:
//
//	what died              where                     left                    then
//	ringer                 before done               nothing                 the process that repairs for it rings
//	ringer                 done set, some not        a bit that none sees    the next look at all bits rings it, see below
//	ringer                 some set, wake not taken  a dealer that sleeps    the next ring, or a look at all bits, wakes it
//	ringer                 wake taken, none woken    a dealer that sleeps    its sleep ends with the next beat
//	teller                 news set, none woken      a watcher that sleeps   it looks each second
//	the owner's process    anywhere                  bits, wake, news        the row's next user is rung once for nothing
//	the dealer's goroutine it can't: a Wait that panics or ends hands the role on
//
// Look at all bits: a session does that after each death (Mailbox.Nudge) and once a second while one of it waits (the
// beat). It rings everything that is taken.
//
// A stray store can ring for nothing, or take a ring away until the next beat. A wake word that holds neither 0 nor 1
// counts as 1.
type MailboxWord struct {
	_      structs.HostLayout
	wake   atomic.Uint32
	some   atomic.Uint32
	news   atomic.Uint32
	wanted atomic.Uint32
	_      [48]byte
	done   [MailboxBits / 64]atomic.Uint64
}

// dealerSleeps is what the dealer stores in wake, and what it sleeps on.
const dealerSleeps = 1

// Ring rings bits of a mailbox: it sets them and then wakes the owner, with one system call if its dealer sleeps and
// none otherwise. What the bits announce has been stored before, atomically or under a lock. A number that is too high
// rings another bit, which is harmless. Ring never blocks.
func (w *MailboxWord) Ring(bits ...uint32) {
	race.Release(&w.wake)
	for _, b := range bits {
		k := b / 64 % uint32(len(w.done))
		w.done[k].Or(1 << (b % 64))
		failpoint.Hit("shmsync/mailbox/marked")
		if w.some.Load()&(1<<k) == 0 {
			w.some.Or(1 << k)
		}
	}
	failpoint.Hit("shmsync/mailbox/summed")
	w.wakeDealer()
}

// wakeDealer wakes the dealer, if it sleeps. Of several ringers the one whose swap takes the mark makes the system
// call. If that one dies before the call, a later ringer finds no mark, and the dealer sleeps until the beat.
func (w *MailboxWord) wakeDealer() {
	if w.wake.Load() != 0 && w.wake.Swap(0) != 0 {
		failpoint.Hit("shmsync/mailbox/roused")
		futex.Wake(&w.wake, all)
	}
}

// takeBits takes the bits that are set and calls f for each; the owner alone calls it. Some is taken before done: a
// bit that a ringer sets in done after this goroutine has taken that word has its bit of some set later still, for the
// next take.
func (w *MailboxWord) takeBits(f func(bit uint32)) {
	if w.some.Load() == 0 {
		return
	}
	some := w.some.Swap(0)
	failpoint.Hit("shmsync/mailbox/taking")
	race.Acquire(&w.wake)
	for ; some != 0; some &= some - 1 {
		k := bits.TrailingZeros32(some)
		if k >= len(w.done) { // a stray store
			return
		}
		for done := w.done[k].Swap(0); done != 0; done &= done - 1 {
			f(uint32(64*k + bits.TrailingZeros64(done)))
		}
	}
}

// clearBits takes all bits, those too that some does not tell of, since a ringer died between its two stores. The
// owner calls it, and then rings every seat: so no bit that it drops is missed.
func (w *MailboxWord) clearBits() {
	w.some.Store(0)
	for k := range w.done {
		w.done[k].Store(0)
	}
	race.Acquire(&w.wake)
}

// News is what a session's watcher is told through its mailbox.
type News uint32

const (
	NewsAsk     News = 1 << iota // someone waits for a lock that seems to be the session's: it is to look at its locks
	NewsDeath                    // a session has died
	NewsEnd                      // the instance ends
	NewsMembers                  // another members file is to come in force: the session takes its row in it
)

// Tell has the watcher of the mailbox's owner look at something. It never blocks. The news is stored before the
// wake-up: a watcher that is about to sleep finds another word than it has seen.
func (w *MailboxWord) Tell(n News) {
	w.news.Or(uint32(n))
	failpoint.Hit("shmsync/mailbox/told")
	futex.Wake(&w.news, all)
}

// Listen sleeps, in the owner's watcher, until it is told something, for at most d, until ctx is over, and takes
// what it was told. It may return early for no reason. (A Linux before 5.16 hears of the end of ctx by Nudge only.)
func (w *MailboxWord) Listen(ctx context.Context, d time.Duration) News {
	if w.news.Load() == 0 {
		futex.WaitLong(ctx, &w.news, 0, d)
	}
	n := News(w.news.Swap(0))
	failpoint.Hit("shmsync/mailbox/heard")
	return n
}

// Nudge makes Listen return early. It changes nothing, so a Listen that is about to sleep is not woken.
func (w *MailboxWord) Nudge() { futex.Wake(&w.news, all) }

// Want sets, for the owner, whether it wants to hear of deaths at once. Only the owner calls it. A process that reads
// the wish late tells for nothing, or leaves the owner to its look once a second.
func (w *MailboxWord) Want(deaths bool) {
	n := uint32(0)
	if deaths {
		n = 1
	}
	w.wanted.Store(n)
}

// Wanted reports whether the owner wants to hear of deaths at once.
func (w *MailboxWord) Wanted() bool { return w.wanted.Load() != 0 }
