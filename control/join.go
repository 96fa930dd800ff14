package control

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// A process becomes a member in three steps: it takes the witness of a row, then stores that the row is used, by the
// next incarnation, and only then enters its first section. The first two need no lock. A process that dies on the way
// holds nothing but the row:
//
//	a process that dies after it has       leaves
//	taken the witness                      nothing: the kernel gives the witness back
//	stored the word                        a used row without a witness: dead, with no reference, to be reclaimed
//	entered its first section              the same, under a lock that the next process takes over
//
// The order is witness, then word, since a used row whose witness is free reads as a dead process's: the other way
// round a reclaimer could take a newcomer for dead before it has begun.

// Who is a joining process, as people will see it.
type Who struct {
	Pid         int
	Application string // cut at 32 bytes
	Since       time.Time
}

// Join makes the process a member: on a free row or, if none is left, over a dead process. A full table is
// ErrTooManyProcesses, a closing instance ErrStale. It waits for the control lock as long as ctx, and 10 s at most. The
// member is the caller's until Leave, which it calls before it drops the witness.
func (t *Table) Join(ctx context.Context, w Witness, who Who) (m *Member, err error) {
	err = contained(func() error { m, err = t.join(ctx, w, who); return err })
	return m, err
}

// JoinSupervisor makes the process the member of SupervisorRow, also of a closing instance. The caller holds what makes
// it the only supervisor, such as the directory's lock; a living one is ErrInUse all the same.
func (t *Table) JoinSupervisor(ctx context.Context, w Witness, who Who) (m *Member, err error) {
	err = contained(func() error {
		m, err = t.joinRow(ctx, SupervisorRow, w, who, true)
		if m == nil && err == nil {
			p := t.processInfo(SupervisorRow)
			err = fmt.Errorf("process %d (%s) is its supervisor: %w", p.Pid, p.Application, ErrInUse)
		}
		return err
	})
	return m, err
}

// join looks for a row: a free one first, then one whose user is dead. It is a search and no reservation: take decides,
// and a row that another process got in between is passed over. Free rows come first because to join over a dead
// process costs the newcomer a reclaim.
func (t *Table) join(ctx context.Context, w Witness, who Who) (*Member, error) {
	for _, overDead := range []bool{false, true} {
		for row := SupervisorRow + 1; row < len(t.processes); row++ {
			word := t.processes[row].word.Load()
			if isUsedWord(word) && (!overDead || w.Held(row)) {
				continue
			}
			if m, err := t.joinRow(ctx, row, w, who, overDead); m != nil || err != nil {
				return m, err
			}
		}
	}
	t.refuseJoin(who)
	return nil, errkind.As(ErrTooManyProcesses, fmt.Errorf("all %d rows for processes (max_processes) are in use: "+
		"raise it, and restart the supervisor", t.Limits.Processes))
}

// refuseJoin counts a process for which there was no row, and logs it once a second at most. The process is no member
// and has no tally, so both go to the header, by additions that need no lock.
func (t *Table) refuseJoin(who Who) {
	n := t.header.joinsRefused.Add(1)
	if refusalDue(&t.header.joinTold) {
		t.recordEvent(note{kind: RefusedJoin, subject: shmsync.Peer{Row: -1}, pid: uint32(who.Pid), application: textWords(who.Application),
			count: n})
	}
}

// joinRow tries to become the user of a row: its witness first, then a second look at the word, which may have changed
// hands between the first look and the witness. With overDead it also takes a row that reads as used: this process has
// its witness, so its user is dead. A nil Member without an error means that the row is another process's, and that the
// caller tries another one; the witness has been dropped then.
func (t *Table) joinRow(ctx context.Context, row int, w Witness, who Who, overDead bool) (*Member, error) {
	if ok, err := w.Take(row); err != nil || !ok {
		return nil, err
	}
	p := &t.processes[row]
	failpoint.Hit("control/join/witness")
	// Compare-and-swap, since a reclaimer of the last user may be freeing the row in this moment, under a lock that this
	// process does not have.
	before := p.word.Load()
	for {
		if isUsedWord(before) && !overDead {
			return nil, w.Drop(row)
		}
		if !inForce(w) { // asked after the look: what it has found is not of one that took the row in a successor
			return nil, errors.Join(errSucceeded, w.Drop(row))
		}
		failpoint.Hit("control/join/in-force")
		if p.word.CompareAndSwap(before, usedWord(wordIncarnation(before)+1)) {
			break
		}
		before = p.word.Load() // a reclaimer that was on its way has just freed it
	}
	failpoint.Hit("control/join/used")
	incarnation := wordIncarnation(before) + 1
	m := &Member{
		t: t, row: row, incarnation: incarnation, who: who, application: textWords(who.Application), witness: w,
		owed: make([]atomic.Uint64, (len(t.segments)+63)/64), tally: &t.tallies[row],
	}
	// From here on the row is used by this incarnation. A process that dies now leaves a dead user without references.
	m.mutex = shmsync.NewMutex(&t.header.lock, shmsync.Self{Peer: mutexPeer(row, incarnation), Alive: m.alive})
	if err := m.announceJoin(ctx, who, isUsedWord(before)); err != nil {
		// What is left reads as a dead member, and the process that reclaims it finishes.
		m.left.Store(true)
		failpoint.Hit("control/join/refused")
		_ = w.Drop(row)
		return nil, err
	}
	// The news last: a process that dies before it is a member of which the supervisor learns at its next look.
	failpoint.Hit("control/join/arrived")
	t.header.news.Advance()
	failpoint.Hit("control/join/told")
	return m, nil
}

// errSucceeded is for a newcomer with a members file in whose place another has come: its witness would be asked for by
// no process, so it would be taken for dead. It opens the books again, and with them the other file.
var errSucceeded = fmt.Errorf("the members file has been replaced meanwhile: %w", ErrStale)

// announceJoin runs the first section of a member's life. Over a dead predecessor it reclaims that first: the row's
// bits are that one's until then. An instance that is closing is ErrStale, and the row is given back at once. On an
// error the caller drops the witness, and what is left of the row reads as a dead member's.
func (m *Member) announceJoin(ctx context.Context, who Who, overDead bool) (err error) {
	how := plain
	how.seize = overDead // the predecessor may have died with the lock
	s, err := m.enter(ctx, how)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	if !inForce(m.witness) { // the row reads as a dead process's, and may be joined over
		return errSucceeded
	}
	// The books may have been opened before another members file came in force, and the file itself after that.
	m.t.members.Store(m.t.header.members.Load())
	if overDead {
		began := time.Now()
		bytes := m.reclaimRowLocked(m.row)
		failpoint.Hit("control/arrive/reclaimed")
		m.recordDeathLocked(m.row, m.incarnation-1, bytes, began)
		s.died = true
	} else {
		m.t.markDeathRetiredLocked(m.row, m.incarnation-1) // the last user may have died in Leave, after it had freed the row
	}
	p := &m.t.processes[m.row]
	if m.t.closing() && m.row != SupervisorRow {
		// The member may have become the agent of objects just now, when it reclaimed its predecessor or repaired the
		// table. Then it leaves its row in use, as a process that dies does: the process that closes the control segment
		// reclaims the row, and becomes the agent of those objects.
		if !m.Owes() {
			p.word.CompareAndSwap(usedWord(m.incarnation), freedWord(m.incarnation))
		}
		failpoint.Hit("control/arrive/refused")
		return ErrStale
	}
	// These fields are only shown to people, so their order does not matter. If the process dies in between, the row
	// is a dead process's and its application is a mixture of two names.
	p.pid.Store(uint32(who.Pid))
	p.application.store(&m.application)
	failpoint.Hit("control/arrive/half-written")
	p.started.Store(who.Since.UnixNano())
	p.segments.Store(0)
	p.bytes.Store(0)
	m.tally.beginLocked()
	if m.row != SupervisorRow {
		m.recordOwnEvent(Joined, 0)
	}
	return nil
}
