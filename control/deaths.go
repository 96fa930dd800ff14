package control

import (
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/shmsync"
)

// The deaths of an instance are written into a log, in the order in which dead processes are reclaimed, so that each
// session can tell its structures which sessions have died, each once, however late it comes to look.
//
//	header.reclaims  how many deaths have been logged, ever. The next one goes to log[reclaims % deathsKept]
//	log[i]           bits 0-42 the peer, bits 43-63 a checksum of it and its number
//	ended[row]       the highest incarnation of the row that is through: it has left, or its death is logged
//
// All three are stored under the control lock and read without it. recordDeathLocked stores in the order log,
// reclaims, ended, and only then the caller frees the row; so whatever dies between two of these stores leaves a row
// that is reclaimed again, and the second call goes on where the first one ended: an entry that is not counted is
// written anew, one that is counted but not in ended yet is the log's last, and is not written twice. An incarnation
// that was joined over and whose newcomer died before it could log it stands between ended and the newcomer: it is
// logged with it.
const (
	deathsKept = 1024 // a power of two: reclaims goes round at 32 bits

	// maxUnburied bounds what one call writes, whatever a stray store has left in ended.
	maxUnburied = 64
)

// recordDeathLocked logs, under the control lock, the death of a row's user that is being reclaimed, and of those
// before it that no process could log. It comes after the references are given back and before the row is free.
//
// Bytes is how much was given back for it, and began is when that was begun. The event says how many references those
// were, by what was counted: so it is right if an earlier reclaimer died halfway. After it the row's counters are
// balanced.
func (m *Member) recordDeathLocked(row int, incarnation uint32, bytes uint64, began time.Time) {
	t := m.t
	defer func() {
		t.tallies[row].balanceLocked()
		now := time.Now()
		addToTally(&m.tally.reclaimTime, uint64(now.Sub(began)))
		ordered.Store64(&m.tally.lastReclaim, uint64(now.UnixNano()))
	}()
	ended := &t.ended[row]
	last := ended.Load()
	if last == incarnation {
		return
	}
	// Hostile value: an incarnation in ended that is far below the row's, or above it, which the subtraction makes a
	// large number too. Then the row's own user is logged and no other.
	if n := incarnation - last; n > maxUnburied {
		last = incarnation - 1
	}
	for last != incarnation {
		last++
		dead := shmsync.Peer{Row: row, Incarnation: last}
		t.logDeathLocked(dead)
		n := note{kind: Died, subject: dead, actor: m.asPeer().Word()}
		if p := &t.processes[row]; last == incarnation {
			n.pid, n.application = p.pid.Load()&^closingBit, p.application.words()
			n.count, n.bytes = t.tallies[row].heldNow(), bytes
		}
		t.recordEvent(n)
		// After the log and the event: a process that dies before it leaves a death that the next reclaimer logs again,
		// which logDeathLocked and the readers of events notice. The other way round it would leave a death that no
		// session hears of.
		ordered.Store32(ended, last)
		failpoint.Hit("control/bury/ended")
	}
}

// logDeathLocked writes one death into the log, unless it is the log's last entry already: then the process that wrote
// it died before it could store ended. The entry comes before the count, since readers read as far as the count says; a
// process that dies in between leaves an entry that is not counted, and that the next one writes over. The caller holds
// the control lock.
func (t *Table) logDeathLocked(p shmsync.Peer) {
	n := t.header.reclaims.Load()
	if t.log[(n-1)%deathsKept].Load() == t.deathEntry(p, n-1) {
		return
	}
	t.log[n%deathsKept].Store(t.deathEntry(p, n))
	failpoint.Hit("control/bury/written")
	t.header.reclaims.Store(n + 1)
	failpoint.Hit("control/bury/counted")
}

// deathEntry returns the word of the log for a death and its number. The checksum has the number in it, so an entry
// that the log has gone past and come round to is not taken for the one that a reader looks for.
func (t *Table) deathEntry(p shmsync.Peer, number uint32) uint64 {
	w := p.Word()
	return w | mixRowCheck(t.seed^w^uint64(number)<<43)&^(1<<43-1)
}

// markDeathRetiredLocked notes, under the control lock, that the user of a row has left in order: it is through, and no
// death is logged.
func (t *Table) markDeathRetiredLocked(row int, incarnation uint32) {
	ordered.Store32(&t.ended[row], incarnation)
}

// Deaths reads the log from some moment on. It lies in this process's own memory, takes no lock, and is not safe for
// concurrent use.
type Deaths struct {
	t    *Table
	seen uint32   // how many entries of the log it has read, or passed over; compared with reclaims
	told []uint32 // by row: the highest incarnation that needs no telling
}

// Deaths returns a reader of the deaths that are logged from now on. Its error is ErrCorrupt, if the books are gone.
func (t *Table) Deaths() (d *Deaths, err error) {
	d = &Deaths{t: t, told: make([]uint32, len(t.ended))}
	err = contained(func() error {
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
	err = contained(func() error {
		list = d.next()
		return nil
	})
	return list, err
}

// next reads the log from where it has read to, up to the count of now. An entry that is not what its number says was
// written over while it was read, or hit by a stray store: then ended is read instead.
func (d *Deaths) next() (list []shmsync.Peer) {
	now := d.t.header.reclaims.Load()
	// Hostile value: a count that a stray store has moved, forth or back. Either is a large difference here.
	if now-d.seen >= deathsKept {
		return d.allRetired(now)
	}
	for n := d.seen; n != now; n++ {
		w := d.t.log[n%deathsKept].Load()
		p := shmsync.PeerOf(w)
		if p.Row < 0 || p.Row >= len(d.told) || w != d.t.deathEntry(p, n) {
			return append(list, d.allRetired(now)...)
		}
		list = d.appendIfDead(list, p)
		d.seen = n + 1
	}
	return list
}

// appendIfDead adds p to the list, if it is a session and not the supervisor, and notes that it needs no telling any
// more.
func (d *Deaths) appendIfDead(list []shmsync.Peer, p shmsync.Peer) []shmsync.Peer {
	d.told[p.Row] = p.Incarnation
	if p.Row == SupervisorRow {
		return list
	}
	return append(list, p)
}

// allRetired returns every incarnation that has ended since the row's last one was returned, by what ended says, and
// passes the log over. It is the answer where the log does not help. Per row it returns deathsKept at most, whatever a
// stray store has left.
func (d *Deaths) allRetired(now uint32) (list []shmsync.Peer) {
	d.seen = now
	for row := range d.told {
		ended := d.t.ended[row].Load()
		if int32(ended-d.told[row]) < 0 { // ended goes up alone, so a stray store has hit it
			d.told[row] = ended
		}
		for i := min(ended-d.told[row], deathsKept); i > 0; i-- {
			list = d.appendIfDead(list, shmsync.Peer{Row: row, Incarnation: ended - i + 1})
		}
	}
	return list
}
