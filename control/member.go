package control

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// Member is one session's right to change the books: a process row in one incarnation. Every call of a Member that
// is no longer the row's user is refused with ErrClosed or ErrStale. Its methods wait for the control
// lock until their context is over, and never longer than 10 s; they are safe for concurrent use. All of a Member lies
// in this process's own memory; what it changes is in its Table.
type Member struct {
	// These are set by Join and never change.

	t           *Table
	row         int
	incarnation uint32
	who         Who
	application [4]uint64 // who's, as a text holds it
	witness     Witness
	mutex       *shmsync.Mutex // on the header's lock word; one for all goroutines of the session
	tally       *tally         // the row's, in shared memory

	latest int64 // creation time of the segment that this member made last, in Unix ns; under the control lock

	// told holds, for each kind of refusal, when one was logged last, in Unix ns. It is changed by compare-and-swap.
	told [lastEventKind - RefusedRows + 1]atomic.Int64

	// left is set once the member has left, or could not join. From then on each call is ErrClosed.
	left atomic.Bool

	owed    []atomic.Uint64 // a bit for each destroying row that fell to this member, see owed.go
	hasOwed atomic.Bool     // set after a bit of owed, cleared before the bits are taken
}

// errDisplaced returns why the member is not its row's user any more: ErrCorrupt if w, the row's word, is none that any
// member stores, and else ErrStale.
func (m *Member) errDisplaced(w uint64) error {
	if i := wordIncarnation(w); w != usedWord(i) && w != freedWord(i) {
		return errkind.As(ErrCorrupt,
			fmt.Errorf("control segment: the word of process row %d is invalid: %#x", m.row, w))
	}
	return fmt.Errorf("this session's row was given to another session: %w", ErrStale)
}

// Disavow gives the control lock back if it seems to be this member's and is not, since a process garbled its word. The
// other members can't take the lock from a holder that lives, so each member calls this now and then, and when it is
// asked (see Ask). It is one load if the word names another member. Else it enters a section and leaves it: if a
// goroutine of this session does hold the lock it waits for that, for a second at most.
func (m *Member) Disavow(ctx context.Context) (err error) {
	held := false
	err = contained(func() error {
		h, is := m.t.header.lock.Owner()
		held = is && h.Row == m.row && h.Incarnation == m.incarnation&shmsync.MutexIncarnationMask
		return nil
	})
	if err != nil || !held {
		return err
	}
	s, err := m.enter(ctx, brief)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	return nil
}

// Row returns the number of the member's process row.
func (m *Member) Row() int { return m.row }

// Incarnation returns which use of its row the member is.
func (m *Member) Incarnation() uint32 { return m.incarnation }

// SayClosing marks the session in the process table as closed: it keeps its row only as long as bytes are lent. The mark
// is for people, and takes no lock.
func (m *Member) SayClosing() error {
	return contained(func() error { m.t.processes[m.row].pid.Or(closingBit); return nil })
}

// Leave frees the row, if the member is the agent of nothing. It holds no references either then: call ReleaseAll
// before. The witness is the caller's to drop, afterwards. If done is false, something has fallen to this member since
// it called Owed: destroy what Owed gives and call again. After a Leave that was done each call is ErrClosed.
func (m *Member) Leave(ctx context.Context) (done bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return false, err
	}
	defer s.leaveSection(&err)
	for i := range m.t.segments {
		row := &m.t.segments[i]
		w := row.word.Load()
		if agent, inc := wordAgent(w); wordHasAgent(w) && agent == m.row && inc == m.incarnation {
			return false, nil
		}
	}
	// The row is freed in the section that has found no work, so none can fall to the member in between. A process that
	// dies before the swap is reclaimed; one that dies after it, and before the death log hears of the row, is noted
	// there by the row's next user (arrive).
	m.left.Store(true)
	failpoint.Hit("control/leave/checked")
	m.t.processes[m.row].word.CompareAndSwap(usedWord(m.incarnation), freedWord(m.incarnation))
	failpoint.Hit("control/leave/freed")
	m.t.markDeathRetiredLocked(m.row, m.incarnation)
	m.recordOwnEvent(Left, 0)
	s.tells = true // other sessions treat locks that still name this one as a dead process's
	return true, nil
}

// mutexPeer returns how the control lock names a member: its word has room for 20 bits of the incarnation.
func mutexPeer(row int, incarnation uint32) shmsync.Peer {
	return shmsync.Peer{Row: row, Incarnation: incarnation & shmsync.MutexIncarnationMask}
}

// asPeer names the member in full, unlike holder.
func (m *Member) asPeer() shmsync.Peer { return shmsync.Peer{Row: m.row, Incarnation: m.incarnation} }

// Alive reports whether p is a session of this instance that lives. It errs to true, for a moment after a death and
// where that can't be told, as when the books are gone. It takes no lock, but asks the witness, which may be a system
// call.
func (m *Member) Alive(p shmsync.Peer) (alive bool) {
	err := contained(func() error {
		alive = p.Row >= 0 && p.Row < len(m.t.processes) &&
			m.t.processes[p.Row].word.Load() == usedWord(p.Incarnation) && m.witness.Held(p.Row)
		return nil
	})
	return alive || err != nil
}

// Gone reports whether p is known to be no session any more: it has left, or has been reclaimed. It takes no lock, asks
// the system nothing, and errs to false.
func (m *Member) Gone(p shmsync.Peer) (gone bool) {
	_ = contained(func() error {
		gone = p.Row >= 0 && p.Row < len(m.t.processes) && m.t.processes[p.Row].word.Load() != usedWord(p.Incarnation)
		return nil
	})
	return gone
}

// PidOf returns the pid of the session p, as it sees itself; 0 if there is no such session. It takes no lock: it reads
// the row and then looks whether that is still the session's, so the pid of a successor is not returned for it.
func (m *Member) PidOf(p shmsync.Peer) (pid int) {
	_ = contained(func() error {
		if p.Row < 0 || p.Row >= len(m.t.processes) {
			return nil
		}
		info := m.t.processInfo(p.Row)
		if m.t.processes[p.Row].word.Load() == usedWord(p.Incarnation) {
			pid = info.Pid
		}
		return nil
	})
	return pid
}

// alive reports whether the holder of the control lock lives. The lock's word has 20 bits of the incarnation, and that
// is enough: a row can't be used again without its new user entering a section, so a lock that a dead user of the row
// still holds is taken over before the row is used a million times more. A holder in a row that does not exist is
// dead.
func (m *Member) alive(h shmsync.Peer) bool {
	if h.Row < 0 || h.Row >= len(m.t.processes) {
		return false
	}
	w := m.t.processes[h.Row].word.Load()
	return isUsedWord(w) && wordIncarnation(w)&shmsync.MutexIncarnationMask == h.Incarnation && m.witness.Held(h.Row)
}

// Succeed has a members file come in force in the place of another, if no session is left behind: moved reports whether
// the user of a row, if it lives, holds its witness in the new file too. It is called inside the section, so it must
// not enter one. Behind lists the rows for which it is false; then nothing has changed. Succeed waits for the control
// lock, for a second at most, and for nothing else. Newcomers join under the lock, with the file that is in force then,
// so that none comes between the question and the store. The supervisor calls it or, while none lives, a session.
func (m *Member) Succeed(ctx context.Context, ino uint64, moved func(row int) bool) (behind []int, err error) {
	s, err := m.enter(ctx, brief)
	if err != nil {
		return nil, err
	}
	defer s.leaveSection(&err)
	// Only the supervisor's own copy of the inode tells its Retry what to restore.
	if w := m.t.processes[SupervisorRow].word.Load(); m.row != SupervisorRow && isUsedWord(w) &&
		m.alive(mutexPeer(SupervisorRow, wordIncarnation(w))) {
		return []int{SupervisorRow}, nil
	}
	for row := range m.t.processes {
		if isUsedWord(m.t.processes[row].word.Load()) && !moved(row) {
			behind = append(behind, row)
		}
	}
	if len(behind) > 0 {
		return behind, nil
	}
	failpoint.Hit("control/succeed/before")
	// The one store that others see is the header's: a process that dies before it leaves the old file in force, and
	// one that dies after it the new one, which every living user is in. The Table's own copy is what Retry compares
	// the header with.
	m.t.members.Store(ino)
	m.t.header.members.Store(ino)
	failpoint.Hit("control/succeed/stored")
	return nil, nil
}
