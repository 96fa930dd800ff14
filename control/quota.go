package control

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// The limits of an instance and of each process, and the counts that they are compared with. All of this file runs
// under the control lock. The counts are derived from the rows and their bits: a death between a bit and its count
// leaves a count that is off until the next holder of the lock repairs the table, which it does before it asks for room.

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
	if used, limit := t.header.usedBytes.Load(), t.Limits.Memory; exceeds(used, uint64(size), limit) {
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

// checkQuotaLocked returns ErrQuota if one more reference, to a segment of size bytes, would pass this process's own
// limits. The caller holds the control lock.
func (m *Member) checkQuotaLocked(size int) error {
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

// exceeds reports whether used and more together pass the limit, where 0 is none. It adds nothing up, since used comes
// from shared memory and a sum of two large numbers would pass as a small one.
func exceeds(used, more, limit uint64) bool {
	return limit > 0 && (more > limit || used > limit-more)
}

// countCreatedLocked counts a segment that this member has made. It comes after the segment is live, so a creator that
// dies in between leaves a segment that is not counted, and none that is counted without being there. The caller holds
// the control lock.
func (m *Member) countCreatedLocked(size int) {
	add(&m.tally.creates, 1)
	failpoint.Hit("control/tally/created")
	add(&m.tally.createdBytes, uint64(size))
}

// countSegmentsLocked adds n references, to a segment of size bytes, to what this process holds; n is 1 or -1. A death
// between the reference bit and its count leaves a count that repairTableLocked makes again, from the bits. The caller
// holds the control lock.
func (m *Member) countSegmentsLocked(n, size int) {
	p := &m.t.processes[m.row]
	ordered.Store32(&p.segments, p.segments.Load()+uint32(n))
	failpoint.Hit("control/account/segments")
	ordered.Store64(&p.bytes, p.bytes.Load()+uint64(n*size))
}
