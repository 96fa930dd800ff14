package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// Ref takes a reference to a live segment; then the caller maps it, and says Unref if it can't. The member must
// not hold one already: a member's reference is one bit, and a second one could not be told from the first. A handle
// that is not live is ErrNotFound, a row that was garbled ErrCorrupt, a limit of this process's own ErrQuota, a
// closing instance ErrStale.
func (m *Member) Ref(ctx context.Context, handle uint64) (e Entry, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return e, err
	}
	defer s.leaveSection(&err)
	if m.t.closing() {
		return e, ErrStale
	}
	i, err := m.t.liveRow(handle)
	if err != nil {
		if err == ErrNotFound {
			addToTally(&m.tally.refusedMissing, 1)
		}
		return e, err
	}
	e = m.t.entry(i)
	if err := m.checkQuotaLocked(e.Size); err != nil {
		m.refuseLocked(RefusedSession, &m.tally.refusedSession)
		return e, err
	}
	// The bit, then the counts: a process that dies after the bit leaves a reference that its reclaim gives back, and
	// counts that the repair makes again.
	if m.t.setBitLocked(i, m.row) {
		failpoint.Hit("control/ref/bit")
		m.countSegmentsLocked(1, e.Size)
		addToTally(&m.tally.attaches, 1)
	}
	failpoint.Hit("control/ref/accounted")
	return e, nil
}

// Unref gives the member's reference back; the caller has unmapped the segment. If it was the last and the segment
// is not pinned, the row becomes destroying, by this member: last is true, and the caller destroys the object and
// says so. A carved one is gone then, and its row free. It waits for the control lock for a second at most;
// without it nothing has changed, and the caller tries again later. An entry whose row is another segment's by now,
// since a Close took it, is no error: there is nothing to give back.
func (m *Member) Unref(ctx context.Context, e Entry) (last bool, err error) {
	return m.unref(ctx, e, brief)
}

// unref does what Unref does, by that entrance. One that does not wait also refuses a carved segment whose row was
// garbled, with errBusy: such a row becomes destroying, and TryUnref could not tell its caller what is left to do.
func (m *Member) unref(ctx context.Context, e Entry, how entrance) (last bool, err error) {
	s, err := m.enter(ctx, how)
	if err != nil {
		return false, err
	}
	defer s.leaveSection(&err)
	i := e.row()
	if i >= len(m.t.segments) || m.t.segments[i].handle.Load() != e.Handle {
		return false, nil // a closing took it, and the row is another process's by now
	}
	r := &m.t.segments[i]
	// Hostile value: a page or size other than those that the holder knows from the time when it took the reference.
	// Pages that are another segment's must not be given back because a garbled row says so.
	carved := e.Page != 0 && r.page.Load() == e.Page && r.size.Load() == uint64(e.Size)
	if how == atOnce && !carved { // a stray store has hit it
		return false, errBusy
	}
	// The bit, then its counts, then the row's state: a process that dies between the first two leaves a reference that
	// is counted as returned by its reclaim (see tally), and before the third a live row that nothing keeps, which the
	// next holder of the lock finds.
	if m.t.clearBitLocked(i, m.row) {
		failpoint.Hit("control/unref/bit")
		m.countSegmentsLocked(-1, e.Size)
		addToTally(&m.tally.detaches, 1)
	}
	failpoint.Hit("control/unref/accounted")
	return m.t.isUnkept(i) && m.retireRowLocked(i, carved), nil
}

// TryUnref does what Unref does with a carved segment, for a caller that does not wait. It reports whether it was done;
// else nothing has changed, and Unref would wait, or has an object to destroy.
func (m *Member) TryUnref(e Entry) (done bool) {
	if e.Page == 0 {
		return false
	}
	_, err := m.unref(context.Background(), e, atOnce)
	return err == nil
}

// makeMoribundLocked makes row i destroying, by this member, if it is live and nothing keeps it; a carved one it
// frees. It reports whether there is an object for the caller to destroy. The caller holds the control lock.
func (m *Member) makeMoribundLocked(i int) bool {
	return m.t.isUnkept(i) && m.retireRowLocked(i, m.t.isCarved(i))
}

// isUnkept reports whether row i is live, and nothing keeps it: no reference bit, no pin, and no wish for a pin, since
// the supervisor may be opening the object for that.
func (t *Table) isUnkept(i int) bool {
	r := &t.segments[i]
	p := r.pin.Load()
	return wordState(r.word.Load()) == Live && pinOf(p) != pinned && pinOf(p) != pinWanted && !t.hasBits(i)
}
