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

// Member is one session's right to change the books: a process row in one incarnation. Every call of a Member that
// is no longer the row's user is refused with ErrClosed or ErrStale. Its methods wait for the control
// lock until their context is over, and never longer than 10 s; they are safe for concurrent use.
type Member struct {
	t           *Table
	row         int
	incarnation uint32
	who         Who
	application [4]uint64 // who's, as a text holds it
	witness     Witness
	mutex       *shmsync.Mutex
	latest      int64 // what this member has created last, under the control lock
	tally       *tally
	told        [lastEventKind - RefusedRows + 1]atomic.Int64 // when a refusal of that kind was logged last
	left        atomic.Bool

	owed    []atomic.Uint64 // a bit for each destroying row that fell to this member
	hasOwed atomic.Bool     // set after a bit of owed
}

// Who is a joining process, as people will see it.
type Who struct {
	Pid         int
	Application string // cut at 32 bytes
	Since       time.Time
}

// Join makes the process a member: on a free row or, if none is left, over a dead one. A full table is
// ErrTooManyProcesses. The caller must not wait for anything while it holds the row's witness and has not
// joined, and Join does not.
func (t *Table) Join(ctx context.Context, w Witness, who Who) (m *Member, err error) {
	err = guarded(func() error { m, err = t.join(ctx, w, who); return err })
	return m, err
}

// JoinSupervisor makes the process the member of SupervisorRow. The caller has seen to it that there is no other
// supervisor; a living one is ErrInUse.
func (t *Table) JoinSupervisor(ctx context.Context, w Witness, who Who) (m *Member, err error) {
	err = guarded(func() error {
		m, err = t.take(ctx, SupervisorRow, w, who, true)
		if m == nil && err == nil {
			p := t.process(SupervisorRow)
			err = fmt.Errorf("process %d (%s) is its supervisor: %w", p.Pid, p.Application, ErrInUse)
		}
		return err
	})
	return m, err
}

func (t *Table) join(ctx context.Context, w Witness, who Who) (*Member, error) {
	for _, overDead := range []bool{false, true} {
		for row := SupervisorRow + 1; row < len(t.processes); row++ {
			word := t.processes[row].word.Load()
			if isUsed(word) && (!overDead || w.Held(row)) {
				continue
			}
			if m, err := t.take(ctx, row, w, who, overDead); m != nil || err != nil {
				return m, err
			}
		}
	}
	t.refuseJoin(who)
	return nil, errkind.As(ErrTooManyProcesses, fmt.Errorf("all %d rows for processes (max_processes) are in use: "+
		"raise it, and restart the supervisor", t.Limits.Processes))
}

// refuseJoin counts a process for which there was no row. Nobody is a member yet, and no lock is held.
func (t *Table) refuseJoin(who Who) {
	n := t.header.joinsRefused.Add(1)
	if due(&t.header.joinTold) {
		t.record(note{kind: RefusedJoin, subject: shmsync.Peer{Row: -1}, pid: uint32(who.Pid), application: textWords(who.Application),
			count: n})
	}
}

// take tries to become the user of a row: its witness first, then a second look at the word, which may have
// changed hands between the first look and the witness. A nil Member without an error means: another row.
func (t *Table) take(ctx context.Context, row int, w Witness, who Who, overDead bool) (*Member, error) {
	if ok, err := w.Take(row); err != nil || !ok {
		return nil, err
	}
	p := &t.processes[row]
	failpoint.Hit("control/join/witness")
	before := p.word.Load()
	for {
		if isUsed(before) && !overDead {
			return nil, w.Drop(row)
		}
		if !inForce(w) { // asked after the look: what it has found is not of one that took the row in a successor
			return nil, errors.Join(errSucceeded, w.Drop(row))
		}
		failpoint.Hit("control/join/in-force")
		if p.word.CompareAndSwap(before, usedBy(incarnationOf(before)+1)) {
			break
		}
		before = p.word.Load() // a reclaimer that was on its way has just freed it
	}
	failpoint.Hit("control/join/used")
	incarnation := incarnationOf(before) + 1
	m := &Member{
		t: t, row: row, incarnation: incarnation, who: who, application: textWords(who.Application), witness: w,
		owed: make([]atomic.Uint64, (len(t.segments)+63)/64), tally: &t.tallies[row],
	}
	m.mutex = shmsync.NewMutex(&t.header.lock, shmsync.Self{Peer: holder(row, incarnation), Alive: m.alive})
	if err := m.arrive(ctx, who, isUsed(before)); err != nil {
		// What is left reads as a dead member, and the process that reclaims it finishes.
		m.left.Store(true)
		failpoint.Hit("control/join/refused")
		_ = w.Drop(row)
		return nil, err
	}
	failpoint.Hit("control/join/arrived")
	t.header.news.Add()
	failpoint.Hit("control/join/told")
	return m, nil
}

// errSucceeded is for a newcomer with a members file in whose place another has come.
var errSucceeded = fmt.Errorf("the members file has been replaced meanwhile: %w", ErrStale)

// arrive runs the first section of a member's life.
func (m *Member) arrive(ctx context.Context, who Who, overDead bool) (err error) {
	how := plain
	how.seize = overDead
	s, err := m.enter(ctx, how)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	if !inForce(m.witness) { // the row reads as a dead one's, and may be joined over
		return errSucceeded
	}
	if overDead {
		began := time.Now()
		bytes := m.reclaimRow(m.row)
		failpoint.Hit("control/arrive/reclaimed")
		m.bury(m.row, m.incarnation-1, bytes, began)
		s.died = true
	} else {
		m.t.retired(m.row, m.incarnation-1) // it may have died after it had freed the row
	}
	p := &m.t.processes[m.row]
	if m.t.closing() && m.row != SupervisorRow {
		// The agent of something, by that or by a repair, leaves its row as a dead one's: the
		// closer reclaims it from there.
		if !m.Owes() {
			p.word.CompareAndSwap(usedBy(m.incarnation), freedBy(m.incarnation))
		}
		failpoint.Hit("control/arrive/refused")
		return ErrStale
	}
	p.pid.Store(uint32(who.Pid))
	p.application.store(&m.application)
	failpoint.Hit("control/arrive/half-written")
	p.started.Store(who.Since.UnixNano())
	p.segments.Store(0)
	p.bytes.Store(0)
	m.tally.begin()
	if m.row != SupervisorRow {
		m.say(Joined, 0)
	}
	return nil
}

// displaced says why the member is not its row's user any more, of which the word is w.
func (m *Member) displaced(w uint64) error {
	if i := incarnationOf(w); w != usedBy(i) && w != freedBy(i) {
		return errkind.As(ErrCorrupt,
			fmt.Errorf("control segment: the word of process row %d is invalid: %#x", m.row, w))
	}
	return fmt.Errorf("this session's row was given to another session: %w", ErrStale)
}

// Disavow gives the control lock back if it seems to be this member's and is not, since a process garbled its word.
// All others wait for that: a member that may be idle for long looks now and then.
func (m *Member) Disavow(ctx context.Context) (err error) {
	held := false
	err = guarded(func() error {
		h, is := m.t.header.lock.Owner()
		held = is && h.Row == m.row && h.Incarnation == m.incarnation&shmsync.IncarnationMask
		return nil
	})
	if err != nil || !held {
		return err
	}
	s, err := m.enter(ctx, brief)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	return nil
}

// Row returns the number of the member's process row.
func (m *Member) Row() int { return m.row }

// Incarnation returns which use of its row the member is.
func (m *Member) Incarnation() uint32 { return m.incarnation }

// SayClosing tells those who list the sessions that this one is closed and keeps its row only as long as bytes are lent. It
// is for people, and takes no lock.
func (m *Member) SayClosing() error {
	return guarded(func() error { m.t.processes[m.row].pid.Or(closingBit); return nil })
}

// Leave frees the row, if the member is the agent of nothing. It holds no references either then: call ReleaseAll
// before. The witness is the caller's to drop, afterwards. A false answer means that something was reclaimed to
// this member meanwhile: destroy what Owed gives and call again.
func (m *Member) Leave(ctx context.Context) (done bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return false, err
	}
	defer s.leave(&err)
	for i := range m.t.segments {
		row := &m.t.segments[i]
		w := row.word.Load()
		if agent, inc := agentOf(w); isAgented(w) && agent == m.row && inc == m.incarnation {
			return false, nil
		}
	}
	m.left.Store(true)
	failpoint.Hit("control/leave/checked")
	m.t.processes[m.row].word.CompareAndSwap(usedBy(m.incarnation), freedBy(m.incarnation))
	failpoint.Hit("control/leave/freed")
	m.t.retired(m.row, m.incarnation)
	m.say(Left, 0)
	s.tells = true // what its locks' words name is as a dead one's
	return true, nil
}

// holder returns how the control lock names a member.
func holder(row int, incarnation uint32) shmsync.Peer {
	return shmsync.Peer{Row: row, Incarnation: incarnation & shmsync.IncarnationMask}
}

// Alive reports whether p is a session of this instance that lives. It errs to true, for a moment after a death and
// where that can't be told.
func (m *Member) Alive(p shmsync.Peer) (alive bool) {
	err := guarded(func() error {
		alive = p.Row >= 0 && p.Row < len(m.t.processes) &&
			m.t.processes[p.Row].word.Load() == usedBy(p.Incarnation) && m.witness.Held(p.Row)
		return nil
	})
	return alive || err != nil
}

// Gone reports whether p is known to be no session any more: it has left, or has been reclaimed. It asks the system nothing,
// and errs to false.
func (m *Member) Gone(p shmsync.Peer) (gone bool) {
	_ = guarded(func() error {
		gone = p.Row >= 0 && p.Row < len(m.t.processes) && m.t.processes[p.Row].word.Load() != usedBy(p.Incarnation)
		return nil
	})
	return gone
}

// PidOf returns the pid of the session p, as it sees itself; 0 if there is no such session.
func (m *Member) PidOf(p shmsync.Peer) (pid int) {
	_ = guarded(func() error {
		if p.Row < 0 || p.Row >= len(m.t.processes) {
			return nil
		}
		info := m.t.process(p.Row)
		if m.t.processes[p.Row].word.Load() == usedBy(p.Incarnation) {
			pid = info.Pid
		}
		return nil
	})
	return pid
}

// alive reports whether a holder of the lock lives. It compares 20 bits of the incarnation, which is enough: a row can't be
// used again without its new user taking the lock.
func (m *Member) alive(h shmsync.Peer) bool {
	if h.Row < 0 || h.Row >= len(m.t.processes) {
		return false
	}
	w := m.t.processes[h.Row].word.Load()
	return isUsed(w) && incarnationOf(w)&shmsync.IncarnationMask == h.Incarnation && m.witness.Held(h.Row)
}
