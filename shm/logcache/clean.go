package logcache

import (
	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/failpoint"
)

// cleaner makes room in a shard: it is the store that the policy decides for. An extent is walked from its first
// record to its last, and is free then. Each entry is moved by an append and a store to its slot, or dropped by a
// store to its slot. So a walk that is begun again from the start does no harm.
type cleaner struct {
	*turn
	walked int // bytes
	budget int // bytes that may be walked; beyond it, entries are not judged but dropped
	leave  int // extents that the logs are to leave free besides
	items  [2]item
}

// item is the oldest entry of a log.
type item struct {
	ok     bool
	e      uint32
	off    int
	record record
	spot   spot
	entry  eviction.Entry
}

const (
	// A Set may walk so many bytes for each that it appends, at least and at most so many.
	walkFactor = 8
	minWalk    = 4 << 10
	maxWalk    = 64 << 10

	// spareExtents is how many a shard should have free, for the next head of each log.
	spareExtents = 2

	// staleFraction is of which part of a log may be records that are not wanted any more.
	staleFraction = 16
)

// roomLocked ensures that n bytes can be appended, with what is walked for them bounded. If the logs are too large by
// more than n, which the growth of the index and a repair leave, they shrink by twice n. It runs under the shard's lock.
func (cl *cleaner) roomLocked(p *eviction.Policy, n int) {
	cl.budget = max(min(max(walkFactor*n, minWalk), maxWalk), 2*n)
	begin := cl.total()
	for cl.doubt == "" {
		now := cl.total()
		if now+int64(n) <= cl.Limit() || begin-now >= 2*int64(n) {
			return
		}
		if cl.walked < cl.budget && (cl.moveOldestLocked() || p.Step(cl)) {
			continue
		}
		if cl.walked >= cl.budget {
			switch {
			case cl.s.free.Load() >= spareExtents: // the next Sets may make up for it
				return
			case cl.budget < maxWalk:
				cl.budget = maxWalk
			case !cl.forceRoomLocked() && cl.total() == now:
				return
			}
			continue
		}
		if cl.total() == now {
			return
		}
	}
}

// moveOldestLocked moves the oldest entry of the main log to its head if much of the log is not wanted, so that what
// is not wanted makes room. It reports whether it has done anything. It runs under the shard's lock.
func (cl *cleaner) moveOldestLocked() bool {
	if !cl.manyUnwantedLocked() {
		return false
	}
	e, some := cl.Oldest(eviction.Main)
	if some {
		cl.Move(eviction.Main, eviction.Main, e.Hits)
	}
	return some
}

// forceRoomLocked drops the oldest entry of the log that is larger, hit or not, and reports whether there was one. It
// runs under the shard's lock.
func (cl *cleaner) forceRoomLocked() bool {
	l := eviction.Main
	if cl.Bytes(eviction.Window) > cl.Bytes(eviction.Main) {
		l = eviction.Window
	}
	cl.budget = cl.walked + cl.c.extent
	_, ok := cl.Oldest(l)
	if ok {
		cl.Drop(l)
		cl.s.forced.Add(1)
	}
	cl.budget = cl.walked
	return ok
}

// freeLocked drops entries until so many extents are free. It runs under the shard's lock.
func (cl *cleaner) freeLocked(least uint32) {
	for cl.doubt == "" && cl.s.free.Load() < least {
		l := eviction.Main
		if cl.s.logs[eviction.Main].count.Load() < 2 {
			l = eviction.Window
		}
		if cl.s.logs[l].count.Load() < 2 {
			cl.markDirtyLocked("no extent is free, and no log has two")
			return
		}
		before := cl.walked
		cl.budget = before + 2*cl.c.extent
		switch _, ok := cl.Oldest(l); {
		case cl.s.free.Load() >= least:
		case ok:
			cl.Drop(l)
			cl.s.forced.Add(1)
		case cl.walked == before:
			cl.markDirtyLocked("a log with two extents has none that can be walked")
		}
	}
}

func (cl *cleaner) total() int64 { return cl.Bytes(eviction.Window) + cl.Bytes(eviction.Main) }

// Bytes implements eviction.Store, as all below: they run under the shard's lock.
func (cl *cleaner) Bytes(l eviction.Log) int64 { return cl.bytesLocked(l) }

// Mean implements eviction.Store.
func (cl *cleaner) Mean() int { return int(cl.total() / max(1, int64(cl.s.entries.Load()&(1<<40-1)))) }

// Limit implements eviction.Store.
func (cl *cleaner) Limit() int64 {
	n := cl.c.each - cl.awayLocked() - int(min(cl.s.index.Load(), uint32(cl.c.each/2))) - cl.leave
	if cl.crowdedLocked() && cl.wantsChunkLocked() {
		n--
	}
	return cl.c.capacity(n)
}

// Oldest implements eviction.Store. It passes records that no slot names, and frees extents that are walked.
func (cl *cleaner) Oldest(l eviction.Log) (eviction.Entry, bool) {
	it := &cl.items[l]
	for !it.ok {
		lg, oldest, _, ok := cl.logEndsLocked(l)
		switch {
		case !ok:
			cl.markDirtyLocked("the ends of a log cannot be")
			return eviction.Entry{}, false
		case oldest == nil:
			return eviction.Entry{}, false
		}
		most := uint32(cl.c.extent)
		off, used := int(min(lg.cursor.Load(), most)), int(min(oldest.used.Load(), most))
		if off >= used {
			if lg.oldest.Load() == lg.newest.Load() || !cl.releaseOldestLocked(l) {
				return eviction.Entry{}, false
			}
			continue
		}
		if cl.walked >= cl.budget {
			return eviction.Entry{}, false
		}
		e := lg.oldest.Load()
		if cl.extentRowLocked(e) != oldest {
			cl.markDirtyLocked("the ends of a log change under its lock")
			return eviction.Entry{}, false
		}
		r, ok := parse(cl.c.extentOf(e), off, used)
		if !ok { // a neighbour has written here: what follows is not found again, and its slots lead nowhere soon
			cl.s.lost.Add(1)
			cl.walked += used - off
			lg.cursor.Store(uint32(used))
			continue
		}
		cl.walked += r.size()
		if !cl.judgeLocked(it, e, off, r) {
			cl.countPassedLocked(l, r.size())
			lg.cursor.Store(uint32(min(off+r.size(), used)))
		}
	}
	return it.entry, true
}

// judgeLocked makes an item of a record that is an entry, and reports whether it is one. It runs under the shard's lock.
func (cl *cleaner) judgeLocked(it *item, e uint32, off int, r record) bool {
	h := hashOf(keyKind(r.kind), r.key, cl.c.seed)
	p, found := cl.spotLocked(h, e, off)
	if !found {
		return false
	}
	switch {
	case !cl.c.slotLeads(p.word()):
	case cl.c.expired(r.expires):
		cl.s.expired.Add(1)
	case r.flags != 0 && !cl.c.alive(&r):
		cl.s.outdated.Add(1)
	default:
		*it = item{true, e, off, r, p, eviction.Entry{
			Hash: h.forPolicy(), Size: r.size(), Hits: int(min(p.l.hits[p.k], eviction.MaxHits)),
		}}
		return true
	}
	cl.clearSlotLocked(p)
	return false
}

// passLocked goes on behind the item of a log. It runs under the shard's lock.
func (cl *cleaner) passLocked(l eviction.Log) {
	it := &cl.items[l]
	cl.s.logs[l].cursor.Store(uint32(it.off + it.record.size()))
	*it = item{}
}

// Move implements eviction.Store. An entry for which there is no place is dropped. The checksum is compared here, and
// not of what is dropped anyway.
func (cl *cleaner) Move(from, to eviction.Log, hits int) {
	it := &cl.items[from]
	if !it.ok {
		return
	}
	if !it.record.whole(cl.c.place(it.e, cl.c.rows[it.e-1].number.Load(), it.off)) {
		cl.s.lost.Add(1)
		cl.clearSlotLocked(it.spot)
		cl.passLocked(from)
		return
	}
	e, off, ok := cl.appendLocked(to, &it.record, 1)
	if !ok {
		if cl.s.forced.Add(1); cl.doubt == "" {
			cl.Drop(from)
		}
		return
	}
	w := it.spot.word()
	it.spot.l.hits[it.spot.k] = uint8(hits)
	failpoint.Hit("logcache/move/counted")
	it.spot.l.slots[it.spot.k].Store(uint64(w.at(e, cl.c.lives[e-1].Load(), off)))
	failpoint.Hit("logcache/move/swung")
	cl.passLocked(from)
}

// Drop implements eviction.Store.
func (cl *cleaner) Drop(l eviction.Log) {
	it := &cl.items[l]
	if !it.ok {
		return
	}
	cl.clearSlotLocked(it.spot)
	cl.s.evicted.Add(1)
	failpoint.Hit("logcache/drop/cleared")
	cl.passLocked(l)
}
