package control

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// The life of a segment that has an object of its own, from the books' side. Each step is one section; between two of
// them the caller asks the backend:
//
//	section          then the caller        a process that dies before its next section leaves
//	Create           makes the object       a creating row, its agent dead: the reclaimer removes what was made
//	Created          -                      a live row with the dead process's bit
//	Abandon          -                      nothing
//	Ref              maps the object        a live row with the dead process's bit
//	Unref, if last   removes the object     a destroying row, its agent dead: the reclaimer removes the object
//	Destroyed        -                      nothing
//
// The books never say that there is no object while there may be one. They may say that there is one when there is not:
// a removal of what is missing succeeds.

// Create writes down the intent to make a segment: its row is creating, by this member, and the member holds a
// reference. Then the caller asks the backend, and says Created or Abandon. Size is in bytes, and more than 0. Now is
// what people will see as the time of creation. A full table is ErrTooManySegments, a limit ErrQuota, a closing instance
// ErrStale; then nothing is written.
func (m *Member) Create(ctx context.Context, size int, now time.Time) (e Entry, err error) {
	random := randomHandle()
	s, err := m.enter(ctx, plain)
	if err != nil {
		return e, err
	}
	defer s.leaveSection(&err)
	i, err := m.roomForCreateLocked(size, true)
	if err != nil {
		return e, err
	}
	e = Entry{Handle: random | uint64(i), Size: size, CreatorPid: m.who.Pid}
	failpoint.Hit("control/create/locked")
	m.writeLocked(&e, now.UnixNano(), Creating)
	failpoint.Hit("control/create/intended")
	return e, nil
}

// writeLocked fills in a free row, with a reference of this member's, and gives it its state s last. The caller holds
// the control lock, and freeRowLocked has found the row.
//
// A row becomes a member's in two stores, not in one: the checksum, which seals what the row says, and the reference
// bit. The state comes after both. So there is a moment in which the row reads free, and is sealed, and has a bit. If
// the section ends there, by a death or by a panic, repairRowLocked decides by the checksum and the bit and not by the
// state. A carved segment is live then, with one reference. If its member lives it goes when the member ends; if it is
// dead, it goes at once, since the repair drops the bits of dead processes. A segment with an object of its own is free
// then: the system has not been asked yet, so there is nothing to remove.
func (m *Member) writeLocked(e *Entry, now int64, s SegmentState) {
	t, i := m.t, e.row()
	m.latest = max(now, m.latest+1)
	r := &t.segments[i]
	t.clearBitsLocked(i) // a free row may have a bit that a death in an earlier write left
	// From here to the checksum the row is free and its check is 0: a death leaves a free row, whatever else is in it.
	ordered.Store64(&r.handle, e.Handle)
	ordered.Store64(&r.size, uint64(e.Size))
	failpoint.Hit("control/create/half-written")
	ordered.Store64(&r.osWord, 0)
	ordered.Store32(&r.page, e.Page)
	ordered.Store64(&r.created, uint64(m.latest))
	ordered.Store32(&r.creatorPid, uint32(e.CreatorPid))
	r.creator.store(&m.application)
	ordered.Store32(&r.pin, unpinned)
	ordered.Store32(&r.errno, 0)
	ordered.Store64(&r.check, rowCheck(t.seed, e.Handle, uint64(e.Size), 0, e.Page))
	failpoint.Hit("control/create/sealed")
	// A row that is sealed and has no bit, as a death here leaves it, is free again after the repair.
	t.setBitLocked(i, m.row)
	failpoint.Hit("control/create/referenced")
	// The counts are derived; repairTableLocked makes them again if this process dies between them.
	m.countSegmentsLocked(1, e.Size)
	t.countLocked(1, uint64(e.Size))
	ordered.Store32(&t.header.freeHint, uint32(i+1))
	failpoint.Hit("control/create/accounted")
	w := m.liveStamp(s)
	if s == Live {
		w = m.unpublishedWord()
	}
	// The last store: from here on the row is not free, and a death leaves it to the rules of its state.
	ordered.Store64(&r.word, w)
}

// Created writes the backend's word down and makes the segment live. If a Close came first,
// the row becomes destroying and the error is ErrStale: the caller destroys the object and says Destroyed. A row that is
// not this member's any more, since it was garbled, is ErrCorrupt. Without the control lock nothing has changed: the row
// stays creating, for ReleaseAll or a reclaimer to finish.
func (m *Member) Created(ctx context.Context, e Entry, osWord uint64) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	r, err := m.ownRowLocked(e, Creating)
	if err != nil {
		return err
	}
	// The word before the checksum that covers it: a process that dies between the two leaves a creating row whose
	// checksum still covers no word, and the reclaimer removes the object without one (see Table.loadWord).
	r.osWord.Store(osWord)
	failpoint.Hit("control/created/word")
	r.check.Store(rowCheck(m.t.seed, e.Handle, uint64(e.Size), osWord, 0))
	failpoint.Hit("control/created/sealed")
	if m.t.closing() {
		r.word.Store(m.liveStamp(Destroying))
		failpoint.Hit("control/created/closing")
		return ErrStale
	}
	// Live last: from here on others can attach, and a death leaves a live segment with the dead process's bit.
	r.word.Store(m.liveStamp(Live))
	failpoint.Hit("control/created/live")
	m.countCreatedLocked(e.Size)
	return nil
}

// Abandon frees the row of a segment that could not be made. The caller knows that nothing of it exists; where it does
// not know, it leaves the row creating. The next Create tries another row, since a foreign object may have the name
// that this one leads to.
func (m *Member) Abandon(ctx context.Context, e Entry) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	r, err := m.ownRowLocked(e, Creating)
	if err != nil {
		return err
	}
	m.countSegmentsLocked(-1, e.Size)
	failpoint.Hit("control/abandon/accounted")
	m.t.freeSegmentRowLocked(e.row(), r)
	return nil
}

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
			add(&m.tally.refusedMissing, 1)
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
		add(&m.tally.attaches, 1)
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
		add(&m.tally.detaches, 1)
	}
	failpoint.Hit("control/unref/accounted")
	return m.t.isUnkept(i) && m.retireRowLocked(i, carved), nil
}

// liveStamp returns the word of a row in state s whose agent is this member; live rows have no agent.
func (m *Member) liveStamp(s SegmentState) uint64 {
	if s == Live {
		return segmentWord(Live, 0, 0)
	}
	return segmentWord(s, m.row, m.incarnation)
}

// ownRowLocked returns the row of an entry that this member is at work on. The caller holds the control lock. ErrCorrupt
// means that the row is not in state s by this member: only a stray store takes a row from an agent that lives. The
// whole word is compared, so a row that another agent has by now is refused too.
func (m *Member) ownRowLocked(e Entry, s SegmentState) (*segmentRow, error) {
	if i := e.row(); i < len(m.t.segments) {
		r := &m.t.segments[i]
		if r.handle.Load() == e.Handle && r.word.Load() == m.liveStamp(s) {
			return r, nil
		}
	}
	return nil, errkind.As(ErrCorrupt,
		fmt.Errorf("control segment: row %d is not %v by this session any more", e.row(), s))
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
	return stateOf(r.word.Load()) == Live && pinOf(p) != pinned && pinOf(p) != pinWanted && !t.hasBits(i)
}

// retireRowLocked retires row i, which nothing keeps. The caller holds the control lock. It reports whether there is an
// object to destroy. Of a segment with an object the state is the only store: a death before it leaves a live row that
// nothing keeps, for the repair, and a death after it a destroying row, whose agent a reclaimer replaces.
func (m *Member) retireRowLocked(i int, carved bool) bool {
	if carved {
		m.t.freeCarvedLocked(i)
		failpoint.Hit("control/moribund/freed")
		return false
	}
	m.t.segments[i].word.Store(m.liveStamp(Destroying))
	failpoint.Hit("control/moribund/stamped")
	return true
}

// unpublishedWord returns the word of a live row that this member has carved, and that no other process may attach
// yet: live refuses it, since it is not the plain word of a live row.
func (m *Member) unpublishedWord() uint64 { return segmentWord(Live, m.row, m.incarnation) }
