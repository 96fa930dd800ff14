package control

import (
	"sync/atomic"
	"time"
)

// RefusedBySystem counts a segment that the system refused to make, and logs that once a second at most. It takes no
// lock, so its counter goes up by an addition.
func (m *Member) RefusedBySystem() {
	_ = contained(func() error {
		m.recordRefusal(RefusedSystem, m.tally.refusedSystem.Add(1))
		return nil
	})
}

// refuseLocked counts, under the control lock, what a limit has refused.
func (m *Member) refuseLocked(kind EventKind, counter *atomic.Uint64) {
	addToTally(counter, 1)
	m.recordRefusal(kind, counter.Load())
}

// recordRefusal logs a refusal, of each kind once in a second: a program that tries again and again must not fill the
// ring.
func (m *Member) recordRefusal(kind EventKind, count uint64) {
	if refusalDue(&m.told[kind-RefusedRows]) {
		m.recordOwnEvent(kind, count)
	}
}

// refusalDue reports whether a second has gone by since it was last, and notes that it is now. Of several callers at one
// moment one gets true. A time in the future, which a stray store or a clock that was put back leaves, is due.
func refusalDue(last *atomic.Int64) bool {
	now, was := time.Now().UnixNano(), last.Load()
	return (now-was >= int64(time.Second) || now < was) && last.CompareAndSwap(was, now)
}
