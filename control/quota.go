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

// checkQuotaLocked returns ErrQuota if one more reference, to a segment of size bytes, would pass this process's own
// limits. The caller holds the control lock.
func (m *Member) checkQuotaLocked(size int) error {
	p, l := &m.t.processes[m.row], m.t.Limits
	if n := p.segments.Load(); l.SegmentsPerProcess > 0 && int64(n) >= int64(l.SegmentsPerProcess) {
		return errkind.As(ErrQuota,
			fmt.Errorf("this process holds %d segments, max_segments_per_process = %d", n, l.SegmentsPerProcess))
	}
	if n := p.bytes.Load(); exceedsQuota(n, uint64(size), l.MemoryPerProcess) {
		return errkind.As(ErrQuota,
			fmt.Errorf("this process holds %d bytes, and %d more would pass max_memory_per_process = %d",
				n, size, l.MemoryPerProcess))
	}
	return nil
}

// exceedsQuota reports whether used and more together pass the limit, where 0 is none. It adds nothing up, since used comes
// from shared memory and a sum of two large numbers would pass as a small one.
func exceedsQuota(used, more, limit uint64) bool {
	return limit > 0 && (more > limit || used > limit-more)
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
