package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// Members returns the inode of the members file that is in force: what the constants say or, if that file was removed, the
// one of its successor.
func (t *Table) Members() (ino uint64, err error) {
	err = guarded(func() error { ino = t.header.members.Load(); return nil })
	return ino, err
}

// TellMembers has all sessions look for a successor of the members file.
func (t *Table) TellMembers() { t.tell(shmsync.NewsMembers) }

// Succeed has a members file come in force in the place of another, if no session is left behind: moved reports whether
// the user of a row, if it lives, holds its witness in the new file too. It waits for the control lock, for a second at
// most, and for nothing else. Newcomers join under the lock, with the file that is in force then, so that none comes
// between the question and the store. The supervisor calls it or, while none lives, a session.
func (m *Member) Succeed(ctx context.Context, ino uint64, moved func(row int) bool) (behind []int, err error) {
	s, err := m.enter(ctx, brief)
	if err != nil {
		return nil, err
	}
	defer s.leave(&err)
	for row := range m.t.processes {
		if isUsed(m.t.processes[row].word.Load()) && !moved(row) {
			behind = append(behind, row)
		}
	}
	if len(behind) > 0 {
		return behind, nil
	}
	failpoint.Hit("control/succeed/before")
	m.t.members.Store(ino)
	m.t.header.members.Store(ino)
	failpoint.Hit("control/succeed/stored")
	return nil, nil
}
