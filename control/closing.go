package control

import (
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// The end of an instance: first no process begins anything new, then the segments go, then the caller removes the
// control segment itself. This file does the first and begins the second. It does not wait for the processes that are
// still at work: Unfinished tells when they are through.

// Close begins the end of the instance: from here on there is no new intent, reference or session, and all live
// segments, pinned or not, fall to this member (see Owed). Rows whose agent lives are left to it; Unfinished
// counts them. It waits for the control lock as long as ctx, and 10 s at most; CloseByForce is for a caller that got no
// lock. A second Close takes over what the first one could not destroy.
func (m *Member) Close(ctx context.Context) error {
	err := m.close(ctx)
	if err == nil {
		failpoint.Hit("control/close/done")
		m.t.tellMailboxes(shmsync.NewsEnd)
	}
	return err
}

// close does what Close does, but for telling the sessions.
func (m *Member) close(ctx context.Context) (err error) {
	s, err := m.enter(ctx, seizing)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	// The flag before the rows: a process that dies in between leaves a closing instance, for the next start to clear.
	// The flag is also what a CloseByForce leaves, so sections ask for it and not for the rows.
	m.t.header.closing.Set()
	failpoint.Hit("control/close/said")
	m.recordOwnEvent(Ending, 0)
	for i := range m.t.segments {
		if r := &m.t.segments[i]; wordState(r.word.Load()) == Live {
			if m.t.isCarved(i) {
				m.t.freeCarvedLocked(i)
				failpoint.Hit("control/close/carved")
				continue
			}
			r.word.Store(m.stampWord(Destroying))
			failpoint.Hit("control/close/row")
			m.addOwed(i)
		}
		m.adoptOwedLocked(i)
	}
	return nil
}

// CloseByForce is Close for a caller that cannot get the lock: it only sets the closing flag, which every member sees
// at its next call. The caller destroys what Segments lists. A section that has begun before may still make one segment
// live.
func (t *Table) CloseByForce() error {
	err := contained(func() error {
		t.header.closing.Set()
		t.recordEvent(note{kind: Ending, subject: shmsync.Peer{Row: -1}})
		return nil
	})
	t.tellMailboxes(shmsync.NewsEnd)
	return err
}

// Closing reports whether the instance is being closed, or its books are gone: no new segment, reference or session. It
// takes no lock. A false answer may be out of date when it is returned; a true one stays true.
func (t *Table) Closing() (closing bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			closing = true
		}
	}()
	return t.closing()
}

// closing reports whether the instance is being closed. A section that begins something asks it; inside a section the
// answer can be out of date by a CloseByForce alone.
func (t *Table) closing() bool { return t.header.closing.Load() != 0 }
