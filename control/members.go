package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// The witnesses are locks on the bytes of a file, the members file. If that is removed, another one comes in force in
// its place, by one store in the header that this file makes. It knows the files by their inodes alone, and opens
// none.

// Members returns the inode of the members file that is in force: what the constants say or, if that file was removed,
// the one of its successor. It takes no lock. A process that finds a row's byte free in another file than this one must
// not take the row's user for dead.
func (t *Table) Members() (ino uint64, err error) {
	err = contained(func() error { ino = t.header.members.Load(); return nil })
	return ino, err
}

// TellMembers has all sessions look for a successor of the members file. It returns at once; a session that it does not
// reach looks by itself after some time.
func (t *Table) TellMembers() { t.tellWatchers(shmsync.NewsMembers) }

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
	if w := m.t.processes[SupervisorRow].word.Load(); m.row != SupervisorRow && isUsed(w) &&
		m.alive(mutexPeer(SupervisorRow, incarnationOf(w))) {
		return []int{SupervisorRow}, nil
	}
	for row := range m.t.processes {
		if isUsed(m.t.processes[row].word.Load()) && !moved(row) {
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
