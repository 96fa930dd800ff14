package logcache

import "github.com/godsm/godsm/internal/failpoint"

// repairLocked makes all that is derived anew from the words that are the truth, after a holder of the shard's lock
// died, or something was found that cannot be. It can itself be cut short anywhere: dirty stays set until its end. An
// extent whose row cannot be is emptied. It runs under the shard's lock.
func (t *turn) repairLocked() {
	s := t.s
	s.repaired.Add(1)
	t.remakeLocked()
	t.recountLoadsLocked()
	failpoint.Hit("logcache/repair/done")
	s.dirty.Store(0)
}

// remakeLocked makes lists, index and counts anew. It runs under the shard's lock.
func (t *turn) remakeLocked() {
	c, s := t.c, t.s
	t.doubt = ""
	s.dirty.Store(1)
	var logs [2][]uint32
	var chunks [maxChunks]uint32
	free, index, away, last := uint32(0), uint32(0), uint32(0), uint64(0)
	for k := range c.each {
		e := uint32(t.i*c.each+k) + 1
		r := &c.rows[e-1]
		state, number, used := r.state.Load(), r.number.Load(), r.used.Load()
		switch {
		case state == stateFree:
		case state == stateAway:
			away++
			continue
		case (state == stateWindow || state == stateMain) && used <= uint32(c.extent) && used&7 == 0 && number < 1<<62:
			logs[state-stateWindow] = append(logs[state-stateWindow], e)
		case state == stateLines && number < maxChunks && chunks[number] == 0:
			chunks[number] = e
			index++
			continue
		default:
			s.lost.Add(1)
			c.lives[e-1].Add(1)
			failpoint.Hit("logcache/repair/emptied")
			r.state.Store(stateFree)
			state = stateFree
		}
		if number < 1<<62 {
			last = max(last, number)
		}
		if state == stateFree {
			free++
		}
	}
	for l := range logs {
		t.linkExtentsLocked(l, logs[l])
	}
	failpoint.Hit("logcache/repair/linked")
	for k, e := range chunks {
		s.chunks[k].Store(e)
	}
	s.free.Store(free)
	s.index.Store(index)
	s.away.Store(away)
	s.number.Store(last + 1)
	t.reindexLocked()
}

// reindexLocked finishes the last split, clears slots that lead nowhere, and counts the entries. If the index cannot
// be as large as it says it begins at its first size, without what is elsewhere. It runs under the shard's lock.
func (t *turn) reindexLocked() {
	c, s := t.c, t.s
	reach := s.reach.Load()
	doubled, split := c.reachOf(reach)
	if uint64(doubled)<<32|uint64(split) != reach&(oneMove-1) || split >= c.nlines<<doubled ||
		doubled == doublings && split > 0 || !t.reachableLocked() {
		s.lost.Add(1)
		s.reach.Store(0)
		doubled, split = 0, 0
	}
	failpoint.Hit("logcache/repair/reach")
	switch {
	case split > 0:
		clearMoved(c.lineAt(t.i, split-1), doubled)
	case doubled > 0:
		clearMoved(c.lineAt(t.i, c.nlines<<(doubled-1)-1), doubled-1)
	}
	failpoint.Hit("logcache/repair/moved")
	t.clearMovingSlotLocked(slot(s.moving.Load()))
	failpoint.Hit("logcache/repair/displaced")
	entries := uint64(0)
	for n := range c.lineCount(t.i) {
		l := c.lineAt(t.i, n)
		if l == nil {
			continue
		}
		for k := range l.slots {
			w := slot(l.slots[k].Load())
			switch {
			case w == 0:
			case c.slotLeads(w):
				entries++
			default:
				l.slots[k].Store(0)
			}
		}
	}
	s.entries.Store(entries)
}

// reachableLocked reports whether all lines have their extents. It runs under the shard's lock.
func (t *turn) reachableLocked() bool {
	each := t.c.extent / lineSize
	for n := t.c.nlines; n < t.c.lineCount(t.i); n += each {
		if t.c.lineAt(t.i, n) == nil {
			return false
		}
	}
	return true
}
