package control

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// Create writes down the intent to make a segment: its row is creating, by this member, and the member holds a
// reference. Then the caller asks the backend, and says Created or Abandon. Size is in bytes, and more than 0. Now is
// what people will see as the time of creation. A full table is ErrTooManySegments, a limit ErrQuota, a closing instance
// ErrStale; then nothing is written.
func (m *Member) Create(ctx context.Context, size int, now time.Time) (e Entry, err error) {
	random := randomEntryHandle()
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
	m.writeRowLocked(&e, now.UnixNano(), Creating)
	failpoint.Hit("control/create/intended")
	return e, nil
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
	// checksum still covers no word, and the reclaimer removes the object without one (see Table.loadRowWord).
	r.osWord.Store(osWord)
	failpoint.Hit("control/created/word")
	r.check.Store(rowCheck(m.t.seed, e.Handle, uint64(e.Size), osWord, 0))
	failpoint.Hit("control/created/sealed")
	if m.t.closing() {
		r.word.Store(m.stampWord(Destroying))
		failpoint.Hit("control/created/closing")
		return ErrStale
	}
	// Live last: from here on others can attach, and a death leaves a live segment with the dead process's bit.
	r.word.Store(m.stampWord(Live))
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

// roomForCreateLocked finds a free row for a segment of size bytes, if the limits allow for one. It takes nothing: the
// caller writes the row in the same section. A closing instance is ErrStale, a limit on bytes or on references
// ErrQuota, a full table ErrTooManySegments. A refusal is counted and logged if final is set, which says that the
// caller does not ask again. The caller holds the control lock.
func (m *Member) roomForCreateLocked(size int, final bool) (row int, err error) {
	t := m.t
	if t.closing() {
		return 0, ErrStale
	}
	if err := m.checkQuotaLocked(size); err != nil {
		if final {
			m.refuseLocked(RefusedSession, &m.tally.refusedSession)
		}
		return 0, err
	}
	if used, limit := t.header.usedBytes.Load(), t.Limits.Memory; exceedsQuota(used, uint64(size), limit) {
		if final {
			m.refuseLocked(RefusedMemory, &m.tally.refusedMemory)
		}
		return 0, errkind.As(ErrQuota,
			fmt.Errorf("%d bytes more than the %d in use would pass max_memory = %d", size, used, limit))
	}
	row, ok := t.freeRowLocked()
	if !ok {
		if final {
			m.refuseLocked(RefusedRows, &m.tally.refusedRows)
		}
		return 0, errkind.As(ErrTooManySegments,
			fmt.Errorf("all %d rows for segments (max_segments) are in use", len(t.segments)))
	}
	return row, nil
}

// countCreatedLocked counts a segment that this member has made. It comes after the segment is live, so a creator that
// dies in between leaves a segment that is not counted, and none that is counted without being there. The caller holds
// the control lock.
func (m *Member) countCreatedLocked(size int) {
	addToTally(&m.tally.creates, 1)
	failpoint.Hit("control/tally/created")
	addToTally(&m.tally.createdBytes, uint64(size))
}
