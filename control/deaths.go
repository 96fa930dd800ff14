package control

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/shmsync"
)

// The deaths of an instance are written into a log, in the order in which the dead are reclaimed, so that each session
// can tell its structures who has died, each once, however late it comes to look.
//
//	header.reclaims  how many deaths have been logged, ever. The next one goes to log[reclaims % deathsKept]
//	log[i]           bits 0-42 the peer, bits 43-63 a checksum of it and its number
//	ended[row]       the highest incarnation of the row that is through: it has left, or its death is logged
//
// All three are stored under the control lock and read without it. bury stores in the order log, reclaims, ended, and
// only then the caller frees the row; so whatever dies between two of these stores leaves a row that is reclaimed again,
// and the second bury goes on where the first one ended: an entry that is not counted is written anew, one that is
// counted but not in ended yet is the log's last, and is not written twice. An incarnation that was joined over and
// whose newcomer died before it could bury it stands between ended and the newcomer: it is buried with it.
const (
	deathsKept = 1024 // a power of two: reclaims goes round at 32 bits

	// maxUnburied bounds what one bury writes, whatever a stray store has left in ended.
	maxUnburied = 64
)

// bury logs, under the control lock, the death of a row's user that is to be reclaimed, and of those before it that
// no process could log.
//
// Bytes is how much was given back for it, and began is when that was begun. The event says how many references those were, by
// what was counted: so it is right if an earlier reclaimer died halfway. After it the row's counters are balanced.
func (m *Member) bury(row int, incarnation uint32, bytes uint64, began time.Time) {
	t := m.t
	defer func() {
		t.tallies[row].balance()
		now := time.Now()
		add(&m.tally.reclaimTime, uint64(now.Sub(began)))
		ordered.Store64(&m.tally.lastReclaim, uint64(now.UnixNano()))
	}()
	ended := &t.ended[row]
	last := ended.Load()
	if last == incarnation {
		return
	}
	if n := incarnation - last; n > maxUnburied { // below it too
		last = incarnation - 1
	}
	for last != incarnation {
		last++
		dead := shmsync.Peer{Row: row, Incarnation: last}
		t.logDeath(dead)
		n := note{kind: Died, subject: dead, actor: m.asPeer().Word()}
		if p := &t.processes[row]; last == incarnation {
			n.pid, n.application = p.pid.Load()&^closingBit, p.application.words()
			n.count, n.bytes = t.tallies[row].held(), bytes
		}
		t.record(n)
		ordered.Store32(ended, last)
		failpoint.Hit("control/bury/ended")
	}
}

func (t *Table) logDeath(p shmsync.Peer) {
	n := t.header.reclaims.Load()
	if t.log[(n-1)%deathsKept].Load() == t.deathEntry(p, n-1) {
		return
	}
	t.log[n%deathsKept].Store(t.deathEntry(p, n))
	failpoint.Hit("control/bury/written")
	t.header.reclaims.Store(n + 1)
	failpoint.Hit("control/bury/counted")
}

func (t *Table) deathEntry(p shmsync.Peer, number uint32) uint64 {
	w := p.Word()
	return w | mix(t.seed^w^uint64(number)<<43)&^(1<<43-1)
}

// retired notes, under the control lock, that the user of a row has left in order.
func (t *Table) retired(row int, incarnation uint32) { ordered.Store32(&t.ended[row], incarnation) }

// Deaths reads the log from some moment on. It is not safe for concurrent use.
type Deaths struct {
	t    *Table
	seen uint32   // of reclaims
	told []uint32 // by row: the highest incarnation that needs no telling
}

// Deaths returns a reader of the deaths that are logged from now on.
func (t *Table) Deaths() (d *Deaths, err error) {
	d = &Deaths{t: t, told: make([]uint32, len(t.ended))}
	err = guarded(func() error {
		d.seen = t.header.reclaims.Load()
		for row := range t.ended {
			d.told[row] = t.ended[row].Load()
		}
		return nil
	})
	return d, err
}

// Next returns the sessions that have died since the last call. If more than the log keeps have died meanwhile, or a
// stray store has hit it, the answer is too long rather than too short: it has every incarnation that has ended since
// its row heard of last, closed sessions too, and the latest 1024 of each row.
func (d *Deaths) Next() (list []shmsync.Peer, err error) {
	err = guarded(func() error {
		list = d.next()
		return nil
	})
	return list, err
}

func (d *Deaths) next() (list []shmsync.Peer) {
	now := d.t.header.reclaims.Load()
	if now-d.seen >= deathsKept {
		return d.all(now)
	}
	for n := d.seen; n != now; n++ {
		w := d.t.log[n%deathsKept].Load()
		p := shmsync.PeerOf(w)
		if p.Row < 0 || p.Row >= len(d.told) || w != d.t.deathEntry(p, n) {
			return append(list, d.all(now)...)
		}
		list = d.tell(list, p)
		d.seen = n + 1
	}
	return list
}

// tell adds p to the list, if it is a session.
func (d *Deaths) tell(list []shmsync.Peer, p shmsync.Peer) []shmsync.Peer {
	d.told[p.Row] = p.Incarnation
	if p.Row == SupervisorRow {
		return list
	}
	return append(list, p)
}

func (d *Deaths) all(now uint32) (list []shmsync.Peer) {
	d.seen = now
	for row := range d.told {
		ended := d.t.ended[row].Load()
		if int32(ended-d.told[row]) < 0 { // a stray store
			d.told[row] = ended
		}
		for i := min(ended-d.told[row], deathsKept); i > 0; i-- {
			list = d.tell(list, shmsync.Peer{Row: row, Incarnation: ended - i + 1})
		}
	}
	return list
}

// tell has the watchers of sessions look at something: all, or those that want to hear of deaths.
func (t *Table) tell(n shmsync.News) {
	_ = guarded(func() error {
		for row := SupervisorRow + 1; row < len(t.processes); row++ {
			if m := &t.mailboxes[row]; isUsed(t.processes[row].word.Load()) && (n != shmsync.NewsDeath || m.Wanted()) {
				m.Tell(n)
			}
		}
		return nil
	})
}

// NewMailbox returns the member's mailbox, for the session whose self it is. It is called once.
func (m *Member) NewMailbox(self shmsync.Self) *shmsync.Mailbox {
	return shmsync.NewMailbox(m.t.mailboxes, m.t.view, self)
}

// Want reports whether the member wants to hear of deaths at once. It hears of them in any case when it listens next.
func (m *Member) Want(deaths bool) error {
	return guarded(func() error { m.own().Want(deaths); return nil })
}

// Listen sleeps until this member is told something, for at most d, until ctx is over or Nudge is called.
func (m *Member) Listen(ctx context.Context, d time.Duration) (n shmsync.News, err error) {
	err = guarded(func() error { n = m.own().Listen(ctx, d); return nil })
	return n, err
}

// Nudge makes Listen return early.
func (m *Member) Nudge() { _ = guarded(func() error { m.own().Nudge(); return nil }) }

func (m *Member) own() *shmsync.MailboxWord { return &m.t.mailboxes[m.row] }

// Ask has another member look whether it holds the locks whose words name it.
func (m *Member) Ask(p shmsync.Peer) {
	if p.Row > SupervisorRow && p.Row < len(m.t.mailboxes) {
		_ = guarded(func() error { m.t.mailboxes[p.Row].Tell(shmsync.NewsAsk); return nil })
	}
}
