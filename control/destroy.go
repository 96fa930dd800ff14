package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// Destroyed frees a row that is destroying, by this member, and whose object is gone. It frees the pages of a
// carved segment, whose row is destroying only if a stray store had hit it. Without the control lock the row stays
// destroying; the caller says Owe then, and tries again.
func (m *Member) Destroyed(ctx context.Context, e Entry) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	r, err := m.ownRowLocked(e, Destroying)
	if err != nil {
		return err
	}
	if e.Page != 0 { // before the row is free: a death in between leaves a row that says which pages they are
		m.t.freeRowPagesLocked(e.Page, uint64(e.Size))
	}
	m.t.freeSegmentRowLocked(e.row(), r)
	failpoint.Hit("control/destroyed/freed")
	m.t.header.freeHint.Store(uint32(e.row()))
	return nil
}

// DestroyFailed leaves a row whose object could not be removed to no process, with the system's reason as errno. People
// see the reason, and a later Retry takes the row over for another try.
func (m *Member) DestroyFailed(ctx context.Context, e Entry, errno uint32) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	r, err := m.ownRowLocked(e, Destroying)
	if err != nil {
		return err
	}
	r.errno.Store(errno)
	failpoint.Hit("control/destroyfailed/errno")
	r.word.Store(segmentWord(Destroying, nobody, 0))
	failpoint.Hit("control/destroyfailed/left")
	return nil
}
