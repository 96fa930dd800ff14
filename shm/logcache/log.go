package logcache

import (
	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/failpoint"
)

// A shard's extents are free, in one of its two logs, or have lines of its index. A log is a list from the oldest
// extent to the newest, to which records are appended.

func stateOf(l eviction.Log) uint32 { return stateWindow + uint32(l) }

// logEndsLocked returns the ends of a log, with their rows, nil for a log without extents. It reports whether they can
// be. It runs under the shard's lock.
func (t *turn) logEndsLocked(l eviction.Log) (lg *logWords, oldest, newest *row, ok bool) {
	lg = &t.s.logs[l]
	if lg.count.Load() == 0 {
		return lg, nil, nil, true
	}
	oldest, newest = t.extentRowLocked(lg.oldest.Load()), t.extentRowLocked(lg.newest.Load())
	ok = oldest != nil && newest != nil && oldest.state.Load() == stateOf(l) && newest.state.Load() == stateOf(l) &&
		newest.used.Load() <= uint32(t.c.extent) && oldest.used.Load() <= uint32(t.c.extent) &&
		lg.cursor.Load() <= oldest.used.Load() && lg.count.Load() <= uint32(t.c.each)
	return lg, oldest, newest, ok
}

// bytesLocked returns how many bytes of a log are not walked yet, with what is lost at the ends of extents. Of a log whose
// ends cannot be it returns any number. It runs under the shard's lock.
func (t *turn) bytesLocked(l eviction.Log) int64 {
	lg, most := &t.s.logs[l], uint32(t.c.extent)
	newest := t.extentRowLocked(lg.newest.Load())
	n := min(lg.count.Load(), uint32(t.c.each))
	if n == 0 || newest == nil {
		return 0
	}
	return int64(n-1)*int64(most) + int64(min(newest.used.Load(), most)) - int64(min(lg.cursor.Load(), most))
}

// logHeadLocked returns the newest extent of a log, with room for size bytes, and where they go. It takes a free
// extent if it has to; spare is how many must stay free. It runs under the shard's lock.
func (t *turn) logHeadLocked(l eviction.Log, size int, spare uint32) (e uint32, r *row, off int, ok bool) {
	s := t.s
	lg, oldest, newest, ok := t.logEndsLocked(l)
	if !ok {
		t.markDirtyLocked("the ends of a log cannot be")
		return 0, nil, 0, false
	}
	if newest != nil {
		off = int(min(newest.used.Load(), uint32(t.c.extent)))
		if e = lg.newest.Load(); off+size <= t.c.extent && t.extentRowLocked(e) == newest {
			return e, newest, off, true
		}
	}
	if s.free.Load() <= spare {
		return 0, nil, 0, false
	}
	number := s.number.Load()
	s.number.Store(number + 1)
	if e, ok = t.takeExtentLocked(stateOf(l), number); !ok {
		return 0, nil, 0, false
	}
	if oldest == nil {
		lg.cursor.Store(0)
		lg.oldest.Store(e)
	} else {
		newest.next.Store(e)
	}
	failpoint.Hit("logcache/head/linked")
	lg.newest.Store(e)
	lg.count.Store(lg.count.Load() + 1)
	failpoint.Hit("logcache/head/newest")
	return e, t.extentRowLocked(e), 0, true
}

// appendLocked writes a record at the head of a log: the bytes first, then the end of what is whole. It returns where
// the record is; a slot that names it makes it an entry. It runs under the shard's lock.
func (t *turn) appendLocked(l eviction.Log, r *record, spare uint32) (e uint32, off int, ok bool) {
	e, row, off, ok := t.logHeadLocked(l, r.size(), spare)
	if !ok {
		return 0, 0, false
	}
	r.write(t.c.extentOf(e), off, t.c.place(e, row.number.Load(), off))
	failpoint.Hit("logcache/append/written")
	row.used.Store(uint32(off + r.size()))
	failpoint.Hit("logcache/append/used")
	return e, off, true
}

// releaseOldestLocked frees the oldest extent of a log, which is not the newest: its life goes up first. Every slot
// that led to it has been cleared, or leads nowhere from then on. It reports whether it has: if not, the shard is in
// doubt. It runs under the shard's lock.
func (t *turn) releaseOldestLocked(l eviction.Log) bool {
	s := t.s
	lg, oldest, _, ok := t.logEndsLocked(l)
	if !ok || oldest == nil {
		t.markDirtyLocked("the ends of a log cannot be")
		return false
	}
	e, next := lg.oldest.Load(), oldest.next.Load()
	if r := t.extentRowLocked(next); t.extentRowLocked(e) != oldest || r == nil || r.state.Load() != stateOf(l) || next == e {
		t.markDirtyLocked("an extent of a log has no next one")
		return false
	}
	t.c.lives[e-1].Add(1)
	failpoint.Hit("logcache/release/life")
	oldest.state.Store(stateFree)
	failpoint.Hit("logcache/release/free")
	lg.cursor.Store(0)
	lg.oldest.Store(next)
	lg.count.Store(lg.count.Load() - 1)
	s.free.Store(s.free.Load() + 1)
	failpoint.Hit("logcache/release/unlinked")
	t.clearDeadSlotsLocked()
	return true
}

// countDeadLocked notes that the record of a slot is not wanted any more. It runs under the shard's lock.
func (t *turn) countDeadLocked(w slot, size int) {
	if r := t.extentRowLocked(w.extent()); r != nil {
		if state := r.state.Load(); state == stateWindow || state == stateMain {
			lg := &t.s.logs[state-stateWindow]
			lg.dead.Store(lg.dead.Load() + uint64(size))
		}
	}
}

// countPassedLocked notes that the walk of a log has come by a record that is not wanted. It runs under the shard's
// lock.
func (t *turn) countPassedLocked(l eviction.Log, size int) {
	lg := &t.s.logs[l]
	lg.dead.Store(lg.dead.Load() - min(lg.dead.Load(), uint64(size)))
}

// manyUnwantedLocked reports whether so much of the main log is not wanted that its oldest extents are to be freed
// before anything is dropped. What is not wanted in the window goes soon by itself. It runs under the shard's lock.
func (t *turn) manyUnwantedLocked() bool {
	return t.s.logs[eviction.Main].dead.Load()*staleFraction > uint64(t.bytesLocked(eviction.Main))
}
