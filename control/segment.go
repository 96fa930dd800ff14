package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// Entry is what a member must know of a row to work on its object outside the lock.
type Entry struct {
	Handle     uint64
	Size       int
	Word       uint64 // the backend's
	Page       uint32 // the first in the reserved region, plus one; 0: an object of its own
	CreatorPid int
}

func (e *Entry) row() int { return int(e.Handle & 0xffff) }

// Create writes down the intent to make a segment: its row is creating, by this member, and the member holds a
// reference. Then the caller asks the backend, and says Created or Abandon. A full table is ErrTooManySegments,
// a limit ErrQuota.
func (m *Member) Create(ctx context.Context, size int, now time.Time) (e Entry, err error) {
	random := randomHandle()
	s, err := m.enter(ctx, plain)
	if err != nil {
		return e, err
	}
	defer s.leave(&err)
	i, err := m.room(size, true)
	if err != nil {
		return e, err
	}
	e = Entry{Handle: random | uint64(i), Size: size, CreatorPid: m.who.Pid}
	failpoint.Hit("control/create/locked")
	m.write(&e, now.UnixNano(), Creating)
	failpoint.Hit("control/create/intended")
	return e, nil
}

func randomHandle() uint64 {
	for {
		if random := rand.Uint64() << 16; random != 0 {
			return random
		}
	}
}

// room finds a free row for a segment of that size, if the limits allow for one. A refusal is counted if final is set: the
// caller does not ask again.
func (m *Member) room(size int, final bool) (row int, err error) {
	t := m.t
	if t.closing() {
		return 0, ErrStale
	}
	if err := m.afford(size); err != nil {
		if final {
			m.refuse(RefusedSession, &m.tally.refusedSession)
		}
		return 0, err
	}
	if used, limit := t.header.usedBytes.Load(), t.Limits.Memory; exceeds(used, uint64(size), limit) {
		if final {
			m.refuse(RefusedMemory, &m.tally.refusedMemory)
		}
		return 0, errkind.As(ErrQuota,
			fmt.Errorf("%d bytes more than the %d in use would pass max_memory = %d", size, used, limit))
	}
	row, ok := t.freeRow()
	if !ok {
		if final {
			m.refuse(RefusedRows, &m.tally.refusedRows)
		}
		return 0, errkind.As(ErrTooManySegments,
			fmt.Errorf("all %d rows for segments (max_segments) are in use", len(t.segments)))
	}
	return row, nil
}

// write fills in a free row, with a reference of this member's, and gives it its state last. What is sealed by the
// checksum and referenced is the member's, even if it does not come to the state: see mend.
func (m *Member) write(e *Entry, now int64, s SegmentState) {
	t, i := m.t, e.row()
	m.latest = max(now, m.latest+1)
	r := &t.segments[i]
	t.clearBits(i)
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
	t.setBit(i, m.row)
	failpoint.Hit("control/create/referenced")
	m.account(1, e.Size)
	t.count(1, uint64(e.Size))
	ordered.Store32(&t.header.freeHint, uint32(i+1))
	failpoint.Hit("control/create/accounted")
	w := m.stamp(s)
	if s == Live {
		w = m.unpublished()
	}
	ordered.Store64(&r.word, w)
}

// Created writes the backend's word down and makes the segment live. If the instance is being closed meanwhile,
// the row becomes destroying and the error is ErrStale: the caller destroys the object and says Destroyed.
func (m *Member) Created(ctx context.Context, e Entry, osWord uint64) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	r, err := m.mine(e, Creating)
	if err != nil {
		return err
	}
	r.osWord.Store(osWord)
	failpoint.Hit("control/created/word")
	r.check.Store(rowCheck(m.t.seed, e.Handle, uint64(e.Size), osWord, 0))
	failpoint.Hit("control/created/sealed")
	if m.t.closing() {
		r.word.Store(m.stamp(Destroying))
		failpoint.Hit("control/created/closing")
		return ErrStale
	}
	r.word.Store(m.stamp(Live))
	failpoint.Hit("control/created/live")
	m.created(e.Size)
	return nil
}

// Abandon frees the row of a segment that could not be made: nothing of it exists. The next Create tries another row,
// since a foreign object may stand under the names that this one leads to.
func (m *Member) Abandon(ctx context.Context, e Entry) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	r, err := m.mine(e, Creating)
	if err != nil {
		return err
	}
	m.account(-1, e.Size)
	failpoint.Hit("control/abandon/accounted")
	m.t.free(e.row(), r)
	return nil
}

// Destroyed frees a row that is destroying, by this member, and whose object is gone. It frees the pages of a
// carved segment, whose row is destroying only if a stray store had hit it.
func (m *Member) Destroyed(ctx context.Context, e Entry) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	r, err := m.mine(e, Destroying)
	if err != nil {
		return err
	}
	if e.Page != 0 {
		m.t.givePagesBack(e.Page, uint64(e.Size))
	}
	m.t.free(e.row(), r)
	failpoint.Hit("control/destroyed/freed")
	m.t.header.freeHint.Store(uint32(e.row()))
	return nil
}

// DestroyFailed leaves a row whose object could not be removed to no process, with the reason, for another try by Retry.
func (m *Member) DestroyFailed(ctx context.Context, e Entry, errno uint32) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leave(&err)
	r, err := m.mine(e, Destroying)
	if err != nil {
		return err
	}
	r.errno.Store(errno)
	failpoint.Hit("control/destroyfailed/errno")
	r.word.Store(segmentWord(Destroying, nobody, 0))
	failpoint.Hit("control/destroyfailed/left")
	return nil
}

// Ref takes a reference to a live segment; then the caller maps it, and says Unref if it can't. The member must
// not hold one already. A handle that is not live is ErrNotFound.
func (m *Member) Ref(ctx context.Context, handle uint64) (e Entry, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return e, err
	}
	defer s.leave(&err)
	if m.t.closing() {
		return e, ErrStale
	}
	i, err := m.t.live(handle)
	if err != nil {
		if err == ErrNotFound {
			add(&m.tally.refusedMissing, 1)
		}
		return e, err
	}
	e = m.t.entry(i)
	if err := m.afford(e.Size); err != nil {
		m.refuse(RefusedSession, &m.tally.refusedSession)
		return e, err
	}
	if m.t.setBit(i, m.row) {
		failpoint.Hit("control/ref/bit")
		m.account(1, e.Size)
		add(&m.tally.attaches, 1)
	}
	failpoint.Hit("control/ref/accounted")
	return e, nil
}

// Unref gives the member's reference back; the caller has unmapped the segment. If it was the last and the segment
// is not pinned, the row becomes destroying, by this member: last is true, and the caller destroys the object and
// says so. A carved one is gone then, and its row free. It waits for the control lock for a second at most;
// without it nothing has changed, and the caller tries again later.
func (m *Member) Unref(ctx context.Context, e Entry) (last bool, err error) {
	return m.unref(ctx, e, brief)
}

func (m *Member) unref(ctx context.Context, e Entry, how entrance) (last bool, err error) {
	s, err := m.enter(ctx, how)
	if err != nil {
		return false, err
	}
	defer s.leave(&err)
	i := e.row()
	if i >= len(m.t.segments) || m.t.segments[i].handle.Load() != e.Handle {
		return false, nil // a closing took it, and the row is another process's by now
	}
	r := &m.t.segments[i]
	carved := e.Page != 0 && r.page.Load() == e.Page && r.size.Load() == uint64(e.Size)
	if how == atOnce && !carved { // a stray store has hit it
		return false, errBusy
	}
	if m.t.clearBit(i, m.row) {
		failpoint.Hit("control/unref/bit")
		m.account(-1, e.Size)
		add(&m.tally.detaches, 1)
	}
	failpoint.Hit("control/unref/accounted")
	return m.t.unkept(i) && m.drop(i, carved), nil
}

// stamp returns the word of a row in that state; live rows have no agent.
func (m *Member) stamp(s SegmentState) uint64 {
	if s == Live {
		return segmentWord(Live, 0, 0)
	}
	return segmentWord(s, m.row, m.incarnation)
}

// mine returns the row of an entry that this member is at work on.
func (m *Member) mine(e Entry, s SegmentState) (*segmentRow, error) {
	if i := e.row(); i < len(m.t.segments) {
		r := &m.t.segments[i]
		if r.handle.Load() == e.Handle && r.word.Load() == m.stamp(s) {
			return r, nil
		}
	}
	return nil, errkind.As(ErrCorrupt,
		fmt.Errorf("control segment: row %d is not %v by this session any more", e.row(), s))
}

// moribund makes row i destroying, by this member, if it is live and nothing keeps it; a carved one it frees.
func (m *Member) moribund(i int) bool { return m.t.unkept(i) && m.drop(i, m.t.carved(i)) }

// unkept reports whether a row is live, and nothing keeps it.
func (t *Table) unkept(i int) bool {
	r := &t.segments[i]
	p := r.pin.Load()
	return stateOf(r.word.Load()) == Live && pinOf(p) != pinned && pinOf(p) != pinWanted && !t.hasBits(i)
}

// drop retires a row that nothing keeps. It reports whether there is an object to destroy.
func (m *Member) drop(i int, carved bool) bool {
	if carved {
		m.t.freeCarved(i)
		failpoint.Hit("control/moribund/freed")
		return false
	}
	m.t.segments[i].word.Store(m.stamp(Destroying))
	failpoint.Hit("control/moribund/stamped")
	return true
}

// afford checks this process's own limits before it takes a reference.
func (m *Member) afford(size int) error {
	p, l := &m.t.processes[m.row], m.t.Limits
	if n := p.segments.Load(); l.SegmentsPerProcess > 0 && int64(n) >= int64(l.SegmentsPerProcess) {
		return errkind.As(ErrQuota,
			fmt.Errorf("this process holds %d segments, max_segments_per_process = %d", n, l.SegmentsPerProcess))
	}
	if n := p.bytes.Load(); exceeds(n, uint64(size), l.MemoryPerProcess) {
		return errkind.As(ErrQuota,
			fmt.Errorf("this process holds %d bytes, and %d more would pass max_memory_per_process = %d",
				n, size, l.MemoryPerProcess))
	}
	return nil
}

func exceeds(used, more, limit uint64) bool {
	return limit > 0 && (more > limit || used > limit-more)
}

// created counts a segment that this member has made.
func (m *Member) created(size int) {
	add(&m.tally.creates, 1)
	failpoint.Hit("control/tally/created")
	add(&m.tally.createdBytes, uint64(size))
}

// account books n references, of size bytes each, to this process.
func (m *Member) account(n, size int) {
	p := &m.t.processes[m.row]
	ordered.Store32(&p.segments, p.segments.Load()+uint32(n))
	failpoint.Hit("control/account/segments")
	ordered.Store64(&p.bytes, p.bytes.Load()+uint64(n*size))
}
